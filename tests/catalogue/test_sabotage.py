"""What is marked in a scenario's file, and what the file is without it."""

import ast
import textwrap
import time

import pytest
from rookery.catalogue.sabotage import Marked, nothing_injected
from rookery.errors import UsageError
from rookery.faults.fault import Fault

NOTHING = "__import__('rookery.faults.fault', fromlist=['']).not_injected"


def marked(body, head="def test_it(cluster):"):
    return Marked(f"{head}\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n", "test_it.py")


def without(body, kind="cause", head="def test_it(cluster):"):
    """The test's block without what is marked, as code again."""
    tree = marked(body, head).without(kind)
    compile(tree, "test_it.py", "exec")
    return "\n".join(map(ast.unparse, tree.body[-1].body))


def told(error):
    return str(error.value).replace(f"\n  hint: {error.value.hint}", "")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("before()\ncluster.harm()  # cause\nafter()", "before()\npass\nafter()"),
        ("cluster.harm()  # cause: why it is one, in words", "pass"),
        ("a = b\na += 1  # cause\nuse(a)", "a = b\npass\nuse(a)"),
        ("a['x'] = 1  # cause\nuse(a)", "pass\nuse(a)"),
        ("pod = new()\npod = other()  # cause\nuse(pod)", "pod = new()\npass\nuse(pod)"),
        ("if True:\n    harm()  # cause\nafter()", "if True:\n    pass\nafter()"),
        ("for x in y:  # cause\n    harm(x)\nafter()", "pass\nafter()"),
        ("if a:\n    b()\nelif c:  # cause\n    harm()\nelse:\n    d()", "if a:\n    b()\nelse:\n    pass"),
        ("harm(\n    1,\n)  # cause", "pass"),
        ("with a(b):  # cause\n    b()\n    c()\nd()", "b()\nc()\nd()"),
        ("with cluster.fault(a) as x:  # cause\n    b(x)", f"with {NOTHING}(a, cluster) as x:\n    b(x)"),
        ("with cluster.fault(a), b:  # cause\n    c()", f"with {NOTHING}(a, cluster):\n    c()"),
        ("with a, b:  # cause\n    c()", "c()"),
        ("with (\n    a,\n    b,\n):  # cause\n    c()", "c()"),
        ("with (\n    a,  # cause\n    b as x,\n):\n    c(x)", "with b as x:\n    c(x)"),
        ("with (\n    a,  # cause\n    b,  # cause\n):\n    c()", "c()"),
        ("with (\n    a,\n    cluster.fault(b),  # cause\n):\n    c()", f"with a, {NOTHING}(b, cluster):\n    c()"),
        ("with a:  # cause\n    with b:  # cause\n        c()\n    d()", "c()\nd()"),
        ("with a:  # cause\n    harm()  # cause\n    c()", "pass\nc()"),
        ("with a:\n    harm()  # cause\n    c()", "with a:\n    pass\n    c()"),
        ("with f({'a': 1}, x[1:2]):  # cause\n    c()", "c()"),
        ("x = f(\n    1,\n    wrong=True,  # cause\n    right=True,\n)\nuse(x)", "x = f(1, right=True)\nuse(x)"),
        ("x = f(\n    wrong={\n        1: 2,\n    },  # cause\n)\nuse(x)", "x = f()\nuse(x)"),
        ("x = {\n    **a,\n    'b': 1,  # cause\n    'c': 2,\n}\nuse(x)", "x = {**a, 'c': 2}\nuse(x)"),
        ("x = [\n    a,\n    b,  # cause\n]\nuse(x)", "x = [a]\nuse(x)"),
        ("harm('ü')  # cause", "pass"),
        ("with fault('ü', lambda: 1):  # cause\n    b()", "b()"),
        ("symptom()  # workaround", "symptom()"),
        ("symptom()  # the cause of it\nb()  # causes\nc()  # cause or not", "symptom()\nb()\nc()"),
        ("text = '# cause'\nuse(text)", "text = '# cause'\nuse(text)"),
    ],
)
def test_what_is_marked_is_taken_out(body, left):
    assert without(body) == left


def test_one_kind_is_taken_out_and_the_other_left():
    body = "harm()  # cause\nhelp()  # workaround"
    assert (without(body), without(body, "workaround")) == ("pass\nhelp()", "harm()\npass")
    assert [(each.kind, each.line, each.text) for each in marked(body).marks] == [
        ("cause", 2, "harm()"),
        ("workaround", 3, "help()"),
    ]


def test_what_is_taken_out_is_reported_on_one_line():
    entry = 'a = {\n    "b": "c",  # cause: see #1\n}\n'
    body = entry + "with (\n    d,  # cause\n    e,\n):\n    f(\n        a\n    )  # cause"
    assert [each.text for each in marked(body).marks] == ['"b": "c"', "d", "f(a)"]


def test_a_decorator_is_taken_out():
    tree = marked("pass", head="@a\n@rook('1.18.8')  # cause\ndef test_it(cluster):").without("cause")
    assert [ast.unparse(each) for each in tree.body[0].decorator_list] == ["a"]


@pytest.mark.parametrize("names", ["killed", "(killed, other)"])
def test_a_name_is_that_of_a_fault_that_was_none(names):
    body = f"with switched_off(a) as {names}:  # cause\n    seen.append(killed)"
    seen = []
    scope = {"seen": seen}
    exec(compile(marked(body).without("cause"), "test_it.py", "exec"), scope)
    scope["test_it"](None)
    (fault,) = seen
    assert (fault.name, fault.targets) == ("nothing", ())
    assert 0 < fault.at <= nothing_injected().at


def test_each_line_keeps_its_number():
    tree = marked("a()\nwith b:  # cause\n    harm()  # cause\n    c()\nd()").without("cause")
    assert [each.lineno for each in tree.body[0].body] == [2, 4, 5, 6]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("# cause\nharm()", "test_it.py:2: a line of its own takes nothing out"),
        ("x = new()  # cause\nuse(x)", "test_it.py:2: line 3 needs the name 'x' without it"),
        ("for x in y:  # cause\n    pass\nuse(x)", "test_it.py:2: line 4 needs the name 'x' without it"),
        ("f(\n    a,  # cause\n    b,\n)", "test_it.py:3: nothing that can be taken out ends on the line"),
        ("f(\n    a=1, b=2,  # cause\n)", "test_it.py:3: several things end on the line"),
        ("a(); b()  # cause", "test_it.py:2: several things end on the line"),
        ("try:  # cause\n    a()\nfinally:\n    b()", "test_it.py:2: a block like this is not taken out"),
        ("def f():  # cause\n    a()", "test_it.py:2: a block like this is not taken out"),
    ],
)
def test_an_empty_marker_is_bad_input(body, what):
    with pytest.raises(UsageError) as error:
        marked(body)
    assert told(error) == what


def test_only_functions_have_marks():
    with pytest.raises(UsageError, match="it is in no function"):
        Marked("ANOTHER = 1  # cause\n", "test_it.py")


def test_a_name_that_the_other_kind_binds_is_bound():
    assert without("x = new()  # cause\nx = other()  # workaround\nuse(x)") == "pass\nx = other()\nuse(x)"


def test_what_a_test_uses_of_its_file_belongs_to_it():
    file = Marked(
        textwrap.dedent(
            """
            @pytest.fixture
            def broken(cluster):
                harm()  # cause

            def helper():
                deeper()

            def deeper():
                mend()  # workaround

            class TestIt:
                def test_in_a_class(self, broken):
                    pass

            def test_it(broken):
                helper()

            def test_other(cluster):
                other()  # cause
            """
        ),
        "test_it.py",
    )
    assert [each.text for each in file.of("test_it")] == ["harm()", "mend()"]
    assert [each.text for each in file.of("test_in_a_class")] == ["harm()"]
    assert [each.text for each in file.of("test_other")] == ["other()"]


class Quiet(Fault):
    """A fault that says what is asked of it."""

    name = "quiet"

    def __init__(self):
        super().__init__("worker")
        self.done = []

    def prepare(self):
        self.done.append("prepared")

    def act(self):
        self.done.append("acted")

    def undo(self):
        self.done.append("undone")

    def effective(self):
        return "seen"

    def check_healed(self):
        self.done.append(f"asked of {self.cluster}")


def test_a_fault_does_nothing_and_is_asked_as_if_it_had():
    fault, seen, before = Quiet(), [], time.time()
    body = "with cluster.fault(fault) as it:  # cause\n    fault.healed.now()\n    seen.append(it)"
    scope = {"seen": seen, "fault": fault}
    exec(compile(marked(body).without("cause"), "test_it.py", "exec"), scope)
    scope["test_it"]("a cluster")
    (it,) = seen
    assert fault.done == ["prepared", "asked of a cluster"]
    assert (it.name, it.targets) == ("quiet", ("worker",))
    assert before <= fault.at == it.at
