"""A fake that takes other arguments than what it plays is none: its tests would pass with calls nobody can make."""

import pytest
from fakes import plays


class Real:
    def exec(self, pod, argv, *, timeout, namespace="default"): ...
    def logs(self, pod): ...


def test_a_fake_may_leave_away_what_has_a_default_and_have_methods_of_its_own():
    @plays(Real)
    class Fake:
        def exec(self, pod, argv, *, timeout): ...
        def logs(self, *anything): ...
        def heard(self, command): ...

    assert Fake.__name__ == "Fake"


@pytest.mark.parametrize(
    ("takes", "told"),
    [
        ("self, name, argv, *, timeout", "exec takes no name, needs pod"),
        ("self, pod, argv", "exec needs timeout"),
        ("self, pod, argv, *, timeout, retries", "exec takes no retries"),
    ],
)
def test_a_fake_that_takes_other_arguments_is_refused(takes, told):
    namespace = {}
    exec(f"class Fake:\n    def exec({takes}): ...", namespace)
    with pytest.raises(TypeError, match=f"Fake is no Real: {told}"):
        plays(Real)(namespace["Fake"])
