"""Archives whose bytes depend on their contents only, and the few commands that all modules need."""
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

from .facts import EPOCH


def say(text):
    print(f"release: {text}", flush=True)


def tar_bytes(files):
    """files: {name: (bytes, mode)}. Sorted, owned by nobody, dated by the commit."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(files):
            data, mode = files[name]
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), mode, EPOCH
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files))
    return path


def tar_gz(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    # No name and no time in the head of the stream either.
    path.write_bytes(gzip.compress(tar_bytes(files), compresslevel=9, mtime=0))
    return path


def zip_file(path, files):
    """files: {name: (bytes, mode)}, in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A zip file has no dates before 1980.
    date = max(time.gmtime(EPOCH)[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(path, "w") as archive:
        for name, (data, mode) in files.items():
            info = zipfile.ZipInfo(name, date)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, data, compresslevel=9)
    return path


def json_bytes(value):
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fresh(path):
    """An empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


class Failed(Exception):
    """A step of a release or of a trial did not do what it should; the text says what to look at."""


def run(*command, quiet=True, **options):
    """Runs to the end and returns stdout; a failure shows all that was printed."""
    command = [str(part) for part in command]
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE if quiet else None, **options)
    if done.returncode != 0:
        for text in (done.stdout, done.stderr or ""):
            sys.stderr.write(text)
        raise Failed(f"exit {done.returncode}: {' '.join(command)}")
    return done.stdout
