"""Who is measured, and how each is started."""
import os

RELAY = "a relay that does nothing"


class Subject:
    """A bridge: its command, its environment beside the common one, what it puts on the disk."""

    def __init__(self, name, command, env=None, disk=(), needs=""):
        self.name, self.command, self.env, self.disk, self.needs = name, command, env or {}, disk, needs

    def start(self, server, home, url=None):
        """Command and environment for this server; `url` is another way to it."""
        words = {"{url}": url or server.url, "{token}": server.token}

        def fill(text):
            for word, value in words.items():
                text = text.replace(word, value)
            return text

        env = {"PATH": os.environ["PATH"], "HOME": home, "SSL_CERT_FILE": server.bundle,
               "NODE_EXTRA_CA_CERTS": server.ca_file, "REQUESTS_CA_BUNDLE": server.bundle}
        env.update({name: fill(value) for name, value in self.env.items()})
        return [fill(word) for word in self.command], env


def ours(program):
    return Subject("aerostack-gateway", [program],
                   {"AEROSTACK_WORKSPACE_URL": "{url}", "AEROSTACK_TOKEN": "{token}"}, [program])


def relay(tools):
    """The least that a bridge can do: what is above it is ours."""
    return Subject(RELAY, [f"{tools}/bench-relay"], ours("").env, [f"{tools}/bench-relay"])


def peers(folder):
    """What scripts/bench has installed below this folder."""
    bearer = "Authorization: Bearer {token}"
    remote = f"{folder}/mcp-remote"
    super_ = f"{folder}/supergateway"
    proxy = f"{folder}/mcp-proxy"
    found = [
        Subject("mcp-remote 0.15.1", ["node", f"{remote}/node_modules/mcp-remote/dist/proxy.js", "{url}", "--header", bearer],
                disk=[remote], needs="Node"),
        Subject("supergateway 4.0.0",
                ["node", f"{super_}/node_modules/supergateway/dist/index.js", "--streamableHttp", "{url}",
                 "--oauth2Bearer", "{token}", "--logLevel", "none"], disk=[super_], needs="Node"),
        Subject("mcp-proxy 0.13.0", [f"{proxy}/bin/mcp-proxy", "--transport", "streamablehttp",
                                     "-H", "Authorization", "Bearer {token}", "{url}"], disk=[proxy], needs="Python"),
    ]
    return [subject for subject in found if all(os.path.exists(path) for path in subject.disk)]
