#!/usr/bin/env python3
"""Turn files into C: an array of {name, bytes, length}, in the order given.

usage: embed.py HEADER ARRAY OUTPUT FILE...

HEADER declares `extern const struct embedded_file ARRAY[]` and `extern const size_t ARRAY_count`.
A byte array rather than a string: no limit on its length, no escapes to get wrong.
"""
import pathlib
import sys

BYTES_PER_LINE = 16


def byte_lines(content):
    for at in range(0, len(content), BYTES_PER_LINE):
        row = content[at:at + BYTES_PER_LINE]
        yield "    " + " ".join(f"{byte if byte < 128 else byte - 256}," for byte in row)


def main():
    header, array, output, *files = sys.argv[1:]
    lines = [f'#include "{header}"', ""]
    rows = []
    for i, name in enumerate(files):
        content = pathlib.Path(name).read_bytes()
        lines += [f"static const char file_{i}[] = {{", *byte_lines(content), "    0,", "};", ""]
        rows.append(f'    {{"{pathlib.Path(name).name}", file_{i}, {len(content)}}},')
    lines += [f"const struct embedded_file {array}[] = {{", *rows, "};"]
    lines += [f"const size_t {array}_count = {len(files)};", ""]
    pathlib.Path(output).write_text("\n".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
