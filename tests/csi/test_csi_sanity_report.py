from rookery.csi.sanity import SanityReport

JUNIT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="7" disabled="0" errors="1" failures="2" time="9.5">
  <testsuite name="CSI Driver Test Suite" package="/" tests="7" skipped="1" errors="1" failures="2" time="9.5">
    <testcase name="[SynchronizedBeforeSuite]" classname="CSI Driver Test Suite" status="failed" time="0.1">
      <failure message="no socket" type="failed">no socket</failure>
    </testcase>
    <testcase name="[It] Identity Service Probe should return" classname="CSI" status="passed" time="0.01">
      <system-err>&gt; Enter [It]</system-err>
    </testcase>
    <testcase name="[It] Node Service NodeGetVolumeStats" classname="CSI" status="skipped" time="0">
      <skipped message="skipped - NodeGetVolume not supported"></skipped>
    </testcase>
    <testcase name="[It] Controller Service CreateVolume" classname="CSI" status="failed" time="0.2">
      <failure message="Expected an error" type="failed">[FAILED] at controller.go:512</failure>
    </testcase>
    <testcase name="[It] Node Service NodeStageVolume" classname="CSI" status="panicked" time="0.2">
      <error message="test panicked" type="panicked"></error>
    </testcase>
    <testcase name="[It] Node Service NodeExpandVolume" classname="CSI" status="failed" time="0.2">
      <skipped message="skipped - late"></skipped>
      <failure message="still there" type="failed"></failure>
    </testcase>
    <testcase name="[ReportAfterSuite] junit" classname="CSI Driver Test Suite" status="passed" time="0"></testcase>
  </testsuite>
</testsuites>
"""


def test_specs_are_sorted_by_what_became_of_them():
    report = SanityReport.parse(JUNIT)
    assert report.passed == ("Identity Service Probe should return",)
    assert report.skipped == {"Node Service NodeGetVolumeStats": "NodeGetVolume not supported"}
    assert report.failed == {
        "Controller Service CreateVolume": "Expected an error\n[FAILED] at controller.go:512",
        "Node Service NodeStageVolume": "test panicked",
        "Node Service NodeExpandVolume": "still there",
    }


def test_a_suite_without_specs_passed_nothing():
    assert SanityReport.parse("<testsuites><testsuite/></testsuites>") == SanityReport((), {}, {})
