#!/usr/bin/env python3
"""Runs a command without leave to use AMX: `benches/without_amx.py COMMAND…`.

Tiles of a processor with AMX are the kernel's to allow: a program asks by arch_prctl(ARCH_REQ_XCOMP_PERM). Here the answer is no, by seccomp, and
onnxruntime multiplies by AVX-512 VNNI as on processors without them. For comparisons by vectors alone, as everywhere but on Intel's servers; milad never asks.
"""

import ctypes
import os
import struct
import sys

ARCH_PRCTL, REQ_XCOMP_PERM, X86_64, EPERM = 158, 0x1023, 0xC000003E, 1
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2
LOAD, EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000


def refuse_tiles():
    # (code, forward if equal, forward if not, operand); struct seccomp_data: nr at 0, arch at 4, the first argument at 16.
    program = [
        (LOAD, 0, 0, 4), (EQUAL, 0, 5, X86_64),
        (LOAD, 0, 0, 0), (EQUAL, 0, 3, ARCH_PRCTL),
        (LOAD, 0, 0, 16), (EQUAL, 0, 1, REQ_XCOMP_PERM),
        (RETURN, 0, 0, ERRNO | EPERM), (RETURN, 0, 0, ALLOW),
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, described, 0, 0)]:
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    refuse_tiles()
    os.execvp(sys.argv[1], sys.argv[1:])
