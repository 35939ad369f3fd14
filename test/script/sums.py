"""The sums in the pages of a store (src/store/sums.c), for stories that change one on purpose."""

import struct

PAGE, RESERVED = 4096, 8
SEED, FACTOR, MASK = 0xCBF29CE484222325, 0x9E3779B97F4A7C15, (1 << 64) - 1


def page_sum(page, number):
    total = (SEED + number) & MASK
    for word in struct.unpack(f"<{(PAGE - RESERVED) // 8}Q", page[:PAGE - RESERVED]):
        total = (total ^ word) * FACTOR & MASK
        total ^= total >> 29
    return struct.pack("<Q", total)


def bad_pages(content):
    """Numbers of the pages, from 1, that do not have their sum."""
    return [at // PAGE + 1 for at in range(0, len(content), PAGE)
            if content[at + PAGE - RESERVED:at + PAGE] !=
            page_sum(content[at:at + PAGE], at // PAGE + 1)]


def stamp(path):
    """Gives each page of the file the sum of what is now in it."""
    content = bytearray(path.read_bytes())
    assert content[20] == RESERVED, "a store with room for sums"
    for at in range(0, len(content), PAGE):
        content[at + PAGE - RESERVED:at + PAGE] = page_sum(content[at:at + PAGE], at // PAGE + 1)
    path.write_bytes(content)
