"""What the kernel says about a process and its children."""
import os


def family(pid):
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        found.append(parent)
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    todo += map(int, children.read().split())
        except OSError:
            pass
    return found


def _status(path):
    try:
        with open(path) as status:
            return dict(line.rstrip("\n").split(":", 1) for line in status)
    except OSError:
        return {}


def memory(pid):
    """Resident bytes now, and the most there ever were."""
    now = most = 0
    for member in family(pid):
        status = _status(f"/proc/{member}/status")
        now += int(status.get("VmRSS", "0").split()[0]) * 1024
        most += int(status.get("VmHWM", "0").split()[0]) * 1024
    return now, most


def wakeups(pid):
    """How often any thread gave up the processor by itself, which it does again after each wake-up."""
    count = 0
    for member in family(pid):
        try:
            tasks = os.listdir(f"/proc/{member}/task")
        except OSError:
            continue
        for task in tasks:
            status = _status(f"/proc/{member}/task/{task}/status")
            count += int(status.get("voluntary_ctxt_switches", "0"))
    return count


def cpu_seconds(pid):
    """Processor time of all threads."""
    total = 0
    for member in family(pid):
        try:
            for task in os.listdir(f"/proc/{member}/task"):
                with open(f"/proc/{member}/task/{task}/schedstat") as stat:
                    total += int(stat.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def disk(path):
    """Bytes of a file, or of all files below a directory."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return total


def load():
    """The machine's load, for the record."""
    return os.getloadavg()[0]
