"""What a row holds, and how it is seen that it holds something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.history.operations import LAST_KEY
from rookery.history.rows import VALUE_BYTES, sort_out, value_of, wrong_with

keys = st.integers(min_value=0, max_value=LAST_KEY)


@given(keys, keys)
def test_a_value_follows_from_its_key_and_from_no_other(one, other):
    assert len(value_of(one)) == VALUE_BYTES
    assert (value_of(one) == value_of(other)) is (one == other)


@given(keys, st.integers(min_value=0, max_value=VALUE_BYTES - 1), st.integers(min_value=1, max_value=255))
def test_one_byte_is_enough(key, place, change):
    found = bytearray(value_of(key))
    found[place] ^= change

    assert f"wrong from byte {place} on: {found[place : place + 16].hex()}" in wrong_with(key, bytes(found))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "no value"),
        (b"", f"0 bytes of {VALUE_BYTES}, wrong from byte 0 on: nothing"),
        (value_of(7)[:100], f"100 bytes of {VALUE_BYTES}, wrong from byte 100 on: nothing"),
        (value_of(7)[:128] + bytes(384), f"512 bytes of {VALUE_BYTES}, wrong from byte 128 on: {bytes(16).hex()}"),
        (value_of(7) + b"!", f"513 bytes of {VALUE_BYTES}, wrong from byte 512 on: 21"),
        (value_of(8), f"512 bytes of {VALUE_BYTES}, wrong from byte 0 on: {value_of(8)[:16].hex()}"),
    ],
)
def test_what_is_wrong_is_reported_in_a_few_bytes(found, told):
    assert wrong_with(7, found) == told


def test_rows_are_sorted_out():
    rows = [(1, value_of(1)), (2, b""), (3, value_of(3)), (3, value_of(3)), (-4, b"x"), (1, b"old"), (2, None)]
    whole, torn = sort_out([*rows, (5, value_of(5))])

    assert whole == {5}
    assert sorted(torn) == [-4, 1, 2, 3]
    assert torn[3] == "there twice; as it was written"
    assert torn[1].startswith("there twice; 3 bytes")
    assert torn[-4] == "not a key that is ever written"
