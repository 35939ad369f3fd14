"""Writes a file's bytes as a C array: embed.py INPUT OUTPUT NAME."""

import sys

source, target, name = sys.argv[1:]
with open(source, "rb") as f:
    content = f.read()
signed = [b - 256 * (b > 127) for b in content]  # what fits a char without a warning
rows = [", ".join(str(b) for b in signed[i : i + 20]) for i in range(0, len(signed), 20)]
with open(target, "w", encoding="ascii") as f:
    f.write('#include "api/conn.h"\n')
    f.write("const char %s[] = {\n%s};\n" % (name, ",\n".join(rows)))
    f.write("const size_t %s_len = sizeof(%s);\n" % (name, name))
