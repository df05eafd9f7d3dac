"""A list or a word at the top of a YAML text changed, and every other letter left."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rookery.machine.yaml_text import with_entry, with_word, without_entries

ENTRY = {"name": "ours", "cluster": {"server": "https://127.0.0.1:1", "data": "QUJD" * 100}}


def ours(entry):
    return entry.get("name") == "ours"


@pytest.mark.parametrize(
    "text",
    [
        "clusters:\n- name: a\n# behind it\nusers: []\n",
        "clusters:\n- name: a  # beside it\n  args: [x]\n# behind it\n",
        "clusters:\n  - name: a\n    text: |\n      two\n      lines\n\n# behind it\n",
        "clusters:\n-\n  name: a\nusers: []\n",
        "clusters:\n- {name: a}\n",
        "clusters: [{name: a}, {name: b}] # all\n",
        '{"clusters": [{"name": "a"}], "users": []}',
        '{\n  "clusters": []\n}\n',
        "clusters: [] # none\nusers: []\n",
        "clusters: []\nusers: []\n",
    ],
)
def test_what_is_put_in_is_there_and_taken_out_leaves_the_text_as_it_was(text):
    more = with_entry(text, "clusters", ENTRY)
    before = yaml.safe_load(text)
    assert yaml.safe_load(more) == {**before, "clusters": [*before["clusters"], ENTRY]}
    assert without_entries(more, "clusters", ours) == text


@pytest.mark.parametrize(
    "text", ["", "# mine\n", "a: 1", "clusters:\na: 1\n", "clusters: null # no\n", "clusters: ~\n"]
)
def test_where_there_is_no_list_one_is_made(text):
    more = with_entry(text, "clusters", ENTRY)
    assert yaml.safe_load(more) == {**(yaml.safe_load(text) or {}), "clusters": [ENTRY]}
    assert yaml.safe_load(without_entries(more, "clusters", ours))["clusters"] == []


def test_what_is_taken_out_of_the_middle_takes_no_comment_of_others_along():
    text = "clusters:\n# a\n- name: a\n# ours begins\n- name: ours\n  x: 1 # ours\n# b\n- name: b\n"
    assert without_entries(text, "clusters", ours) == "clusters:\n# a\n- name: a\n# ours begins\n# b\n- name: b\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\ncurrent: x # here\n", "a: 1\ncurrent: kind-c # here\n"),
        ("current:\na: 1\n", "current: kind-c\na: 1\n"),
        ('current: ""\n', "current: kind-c\n"),
        ("a: 1", 'a: 1\ncurrent: "kind-c"\n'),
        ('{"a": 1}', '{"a": 1, "current": "kind-c"}'),
        ('{"current": "x"}', '{"current": "kind-c"}'),
    ],
)
def test_a_word_takes_the_place_of_another(text, found):
    assert with_word(text, "current", "kind-c") == found


NAMES = st.text("abc-: #'\"[]{},\n", max_size=5)


@given(st.lists(st.fixed_dictionaries({"name": NAMES, "text": NAMES}), max_size=4), st.booleans(), st.integers(0, 4))
def test_whatever_others_have_written_stays(entries, flow, at):
    entries = [*entries[:at], ENTRY, *entries[at:]]
    text = yaml.safe_dump({"clusters": entries, "last": "z"}, default_flow_style=flow, width=40)
    rest = [entry for entry in entries if entry != ENTRY]
    assert yaml.safe_load(without_entries(text, "clusters", ours)) == {"clusters": rest, "last": "z"}
    assert yaml.safe_load(with_entry(text, "clusters", ENTRY)) == {"clusters": [*entries, ENTRY], "last": "z"}
