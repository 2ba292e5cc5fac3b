"""Reads a Mach-O program: what it links, the oldest system it runs on, and whether its signature holds."""
import hashlib
import struct

from .files import Failed

MAGIC = 0xFEEDFACF
CPUS = {0x0100000C: "arm64", 0x01000007: "x64"}
LOAD_DYLIB, CODE_SIGNATURE, BUILD_VERSION = 0xC, 0x1D, 0x32
SUPER_BLOB, CODE_DIRECTORY = 0xFADE0CC0, 0xFADE0C02
AD_HOC = 2


def inspect(path, cpu):
    """Returns a line for the table, or raises Failed."""
    data = path.read_bytes()
    magic, cpu_type, _, kind, count = struct.unpack_from("<5I", data)
    if magic != MAGIC or kind != 2 or CPUS.get(cpu_type) != cpu:
        raise Failed(f"{path} is no program for {cpu}")
    libraries, oldest, signature, offset = [], "", None, 32
    for _ in range(count):
        command, size = struct.unpack_from("<2I", data, offset)
        if command == LOAD_DYLIB:
            start = offset + struct.unpack_from("<I", data, offset + 8)[0]
            libraries.append(data[start:data.index(b"\0", start)].decode())
        elif command == BUILD_VERSION:
            version = struct.unpack_from("<I", data, offset + 12)[0]
            oldest = f"{version >> 16}.{version >> 8 & 255}"
        elif command == CODE_SIGNATURE:
            start, length = struct.unpack_from("<2I", data, offset + 8)
            signature = data[start:start + length], start
        offset += size
    if libraries != ["/usr/lib/libSystem.B.dylib"]:
        raise Failed(f"{path} links {libraries}")
    if oldest != "11.0":
        raise Failed(f"{path} is made for macOS {oldest}")
    if signature:
        return f"libSystem only, macOS {oldest}, ad-hoc signature holds for {verify(data, *signature)} pages"
    if cpu == "arm64":
        raise Failed(f"{path} has no signature, and arm64 starts no program without one")
    return f"libSystem only, macOS {oldest}, unsigned (x86_64 needs no signature)"


def verify(data, blob, end):
    """Every page against the code directory's hash: what the kernel does before it runs the page."""
    magic, _, count = struct.unpack_from(">3I", blob)
    if magic != SUPER_BLOB:
        raise Failed("the signature is damaged")
    offsets = [struct.unpack_from(">2I", blob, 12 + 8 * number)[1] for number in range(count)]
    directory = next(blob[at:] for at in offsets if struct.unpack_from(">I", blob, at)[0] == CODE_DIRECTORY)
    flags, hashes, _, _, slots, limit = struct.unpack_from(">6I", directory, 12)
    hash_size, hash_type, _, page_bits = struct.unpack_from(">4B", directory, 36)
    if not flags & AD_HOC or hash_type != 2 or limit != end:
        raise Failed(f"the signature has flags {flags:#x}, hash {hash_type}, and covers {limit} of {end} bytes")
    page = 1 << page_bits
    for number in range(slots):
        part = data[number * page:min((number + 1) * page, limit)]
        found = directory[hashes + number * hash_size:][:hash_size]
        if hashlib.sha256(part).digest()[:hash_size] != found:
            raise Failed(f"page {number} is not what was signed")
    return slots
