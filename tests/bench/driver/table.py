"""The results as Markdown."""
import statistics

from .subjects import RELAY

MEGA = 1_000_000


def processor():
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown"


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def middle(results, name):
    values = results.get(name)
    return statistics.median(values) if values else None


def paired(results, mine, yours, combine, other="direct"):
    """The median of what each round says of itself: a disturbed round disturbs both."""
    pairs = zip(results["aerostack-gateway"].get(mine, []), results[other].get(yours, []))
    values = [combine(a, b) for a, b in pairs]
    return statistics.median(values) if values else None


def scaled(value, factor):
    return None if value is None else value * factor


COLUMNS = "bridge | initialize ms | tools/list ms | RSS MB, after start / calls | p50 / p99 µs | event stream p50 µs " \
    "| calls/s, 64 in flight | 1 / 10 MB ms | as events ms | peak MB, JSON / events | idle wake-ups/s | MB on disk"


def row(name, found):
    def get(key, factor=1, digits=0):
        return number(scaled(middle(found, key), factor), digits)

    disk = found.get("disk_bytes")
    disk = "–" if disk is None else number(disk / MEGA, 1) + (f" + {found['needs']}" if found.get("needs") else "")
    return " | ".join([
        name, get("initialize_s", 1e3, 1), get("list_s", 1e3, 1),
        f"{get('rss_start', 1 / MEGA, 1)} / {get('rss_calls', 1 / MEGA, 1)}",
        f"{get('json_p50_s', 1e6)} / {get('json_p99_s', 1e6)}", get("sse_p50_s", 1e6), get("calls_per_s"),
        f"{get('json_1mb_s', 1e3, 1)} / {get('json_10mb_s', 1e3, 1)}", f"{get('sse_1mb_s', 1e3, 1)} / {get('sse_10mb_s', 1e3, 1)}",
        f"{get('peak_json', 1 / MEGA, 1)} / {get('peak_sse', 1 / MEGA, 1)}", get("wakeups_per_s", 1, 2), disk])


def budgets(results):
    """Each budget: what it is, what came out, what is allowed, what would be better still."""
    found = results["aerostack-gateway"]
    remote = next((value for name, value in results.items() if name.startswith("mcp-remote")), {})
    theirs, own = middle(remote, "initialize_s"), middle(found, "initialize_s")

    def ratio(mine, yours, other="direct"):
        return paired(results, mine, yours, lambda a, b: a / b, other)

    def above(mine, yours, factor):
        return scaled(paired(results, mine, yours, lambda a, b: a - b), factor)

    return [
        ("start, × the direct client's connect + initialize", ratio("initialize_s", "initialize_s"), "≤", 2.5, 1.3),
        ("start, × faster than mcp-remote", theirs / own if theirs and own else None, "≥", 50, None),
        ("sequential call p50, µs above direct", above("json_p50_s", "json_p50_s", 1e6), "≤", 60, 30),
        ("sequential call p50, × the relay", ratio("json_p50_s", "json_p50_s", RELAY), "≤", 1.5, 1.15),
        ("64 in flight, × direct's calls per second", ratio("calls_per_s", "calls_per_s"), "≥", 0.35, 0.8),
        ("10 MB result, × direct", ratio("json_10mb_s", "json_10mb_s"), "≤", 2, None),
        ("10 MB result, × the relay", ratio("json_10mb_s", "json_10mb_s", RELAY), "≤", 1.5, 1.15),
        ("10 MB as events, × direct", ratio("sse_10mb_s", "sse_10mb_s"), "≤", 2, None),
        *((f"round trips to {what}", middle(found, f"trips_{key}"), "≤", limit, None)
          for key, what, limit in (("initialize", "initialize", 1.1), ("list", "tools/list", 2.1), ("call", "a call's answer", 1.1))),
        ("approval decision to stdout p50, ms above the network", above("approval_p50_s", "approval_p50_s", 1e3), "≤", 1, None),
    ]


def round_trips(results):
    """Through a link of 100 ms, plain http: how often an answer is waited for."""
    lines = ["| bridge, round trips | initialize | tools/list | a call |", "|---|---|---|---|"]
    for name, found in results.items():
        trips = [middle(found, f"trips_{key}") for key in ("initialize", "list", "call")]
        if any(value is not None for value in trips):
            lines.append(" | ".join([f"| {name}", *(number(value, 1) for value in trips)]) + " |")
    return lines


def verdict(value, sign, limit):
    if value is None:
        return "not measured"
    kept = value <= limit if sign == "≤" else value >= limit
    return "kept" if kept else "missed"


def markdown(record):
    results = record["results"]
    lines = [f"{record['date']}, {record['machine']['processors']} × {record['machine']['model']}, Linux {record['machine']['kernel']}, "
             f"load {record['load_before']:.1f} to {record['load_after']:.1f}; {record['program']['path']}, "
             f"{record['program']['bytes']:,} bytes; HTTPS on loopback, medians of {record['plan']['rounds']} rounds", "",
             f"| {COLUMNS} |", "|" + "---|" * (COLUMNS.count("|") + 1)]
    lines += [f"| {row(name, found)} |" for name, found in results.items()]
    rss = results["aerostack-gateway"].get("rss", {})
    lines += ["", "aerostack-gateway's RSS: " + ", ".join(
        f"{value / MEGA:.2f} MB after {name.removeprefix('calls_')} calls" for name, value in rss.items()), "",
        *round_trips(results), "",
        "| budget | measured | allowed (stretch) | |", "|---|---|---|---|"]
    for name, value, sign, limit, stretch in budgets(results):
        better = f" ({stretch})" if stretch else ""
        lines.append(f"| {name} | {number(value, 2)} | {sign} {limit}{better} | {verdict(value, sign, limit)} |")
    for name, found in results.items():
        for what, why in found.get("failed", {}).items():
            lines.append(f"\n{name} failed at {what}: {' '.join(why.split())[-200:]}")
    return "\n".join(lines)
