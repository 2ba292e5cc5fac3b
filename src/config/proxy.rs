//! Which proxy, if any, a target is reached through: HTTPS_PROXY, ALL_PROXY and NO_PROXY.
//!
//! Owns the reading of these variables, as curl reads them: lower case wins over upper case, the
//! scheme's own variable over ALL_PROXY, an empty one counts as unset. It must never show a proxy's
//! credentials to anything but the proxy, and never name a proxy for this machine itself.

use super::{SettingError, Source, given, wrong};
use crate::proto::endpoint::{Endpoint, Scheme};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::net::IpAddr;

/// The variables for https:// targets, the first that is set counts.
const HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// For http:// targets. Not HTTP_PROXY: a CGI server sets it to a request's `Proxy` header.
const HTTP: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];
const EXAMPLE: &str = "http://proxy.example.com:3128";

/// An HTTP proxy that tunnels by CONNECT. Printed without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of Proxy-Authorization, where its URL has credentials: a secret.
    pub authorization: Option<String>,
}

impl fmt::Display for Proxy {
    /// `http://host:port (HTTPS_PROXY)`, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port)?,
            false => write!(f, "http://{}:{}", self.host, self.port)?,
        }
        write!(f, " ({})", self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The proxies of the environment and the hosts that go without.
#[derive(Clone, Debug, Default)]
pub struct ProxyRules {
    https: Option<Result<Proxy, SettingError>>,
    http: Option<Result<Proxy, SettingError>>,
    bypass: Vec<Bypass>,
}

impl ProxyRules {
    /// Reads the variables. What is wrong with one is said by [`ProxyRules::check`], and only where
    /// that variable matters.
    pub fn read(source: &dyn Source) -> ProxyRules {
        let first = |names: &[&'static str]| {
            let found = |name: &&'static str| Some((*name, given(source, name)?));
            let (name, value) = names.iter().find_map(found)?;
            Some(parse(name, value.trim()))
        };
        let list = given(source, "no_proxy").or_else(|| given(source, "NO_PROXY"));
        let list = list.unwrap_or_default();
        ProxyRules {
            https: first(&HTTPS),
            http: first(&HTTP),
            bypass: list
                .split([',', ' ', '\t'])
                .filter_map(Bypass::parse)
                .collect(),
        }
    }

    /// The proxy for this target; `None`: connect to it directly.
    pub fn choose(&self, endpoint: &Endpoint) -> Option<&Proxy> {
        self.setting(endpoint)?.as_ref().ok()
    }

    /// What authenticates at the proxies.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let proxies = [&self.https, &self.http].into_iter().flatten().flatten();
        proxies.filter_map(|proxy| proxy.authorization.as_deref())
    }

    /// Whether the variable that this target depends on can be used.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), SettingError> {
        match self.setting(endpoint) {
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn setting(&self, endpoint: &Endpoint) -> Option<&Result<Proxy, SettingError>> {
        let setting = match endpoint.scheme() {
            Scheme::Https => self.https.as_ref()?,
            Scheme::Http => self.http.as_ref()?,
        };
        let direct = endpoint.is_loopback_host()
            || self.bypass.iter().any(|bypass| bypass.matches(endpoint));
        (!direct).then_some(setting)
    }
}

/// One item of NO_PROXY.
#[derive(Clone, Debug, PartialEq)]
enum Bypass {
    /// `*`
    Everything,
    /// A domain and all below it, on one port or all.
    Domain(String, Option<u16>),
    /// An address with the length of its prefix, on one port or all.
    Network(IpAddr, u32, Option<u16>),
}

impl Bypass {
    /// An item that is none of the forms matches nothing, as with curl.
    fn parse(item: &str) -> Option<Bypass> {
        if item == "*" {
            return Some(Bypass::Everything);
        }
        if let Some((address, bits)) = item.split_once('/') {
            let address = strip_brackets(address).parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Bypass::Network(address, bits, None));
        }
        // The colons of a bare IPv6 address are no port's.
        let (host, port) = match item.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            _ => (item, None),
        };
        if let Ok(address) = strip_brackets(host).parse::<IpAddr>() {
            return Some(Bypass::Network(address, width(address), port));
        }
        let domain = host.strip_prefix('*').unwrap_or(host);
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        (!domain.is_empty()).then_some(Bypass::Domain(domain, port))
    }

    fn matches(&self, endpoint: &Endpoint) -> bool {
        let on = |port: &Option<u16>| port.is_none_or(|port| port == endpoint.port());
        match self {
            Bypass::Everything => true,
            Bypass::Domain(domain, port) => {
                let host = endpoint.host().trim_end_matches('.');
                let below = host.strip_suffix(domain.as_str());
                // "ample.com" matches www.ample.com, but not www.example.com.
                on(port) && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Bypass::Network(address, bits, port) => {
                let same = |host| same_network(host, *address, *bits);
                on(port) && endpoint.ip().is_some_and(same)
            }
        }
    }
}

fn strip_brackets(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_network(left: IpAddr, right: IpAddr, bits: u32) -> bool {
    let differ = match (left.to_canonical(), right.to_canonical()) {
        (IpAddr::V4(left), IpAddr::V4(right)) => u128::from(left.to_bits() ^ right.to_bits()) << 96,
        (IpAddr::V6(left), IpAddr::V6(right)) => left.to_bits() ^ right.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= bits
}

/// A proxy's URL; without a scheme it is http, as curl has it. The errors never repeat the value:
/// it may hold a password.
fn parse(name: &'static str, text: &str) -> Result<Proxy, SettingError> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" => {}
        "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => {
            return wrong(
                name,
                format!(
                    "names a {scheme}:// proxy, which is not supported: name an HTTP proxy, such as \
                     {EXAMPLE}, or except the workspace with NO_PROXY"
                ),
            );
        }
        "https" => {
            return wrong(
                name,
                format!(
                    "names an https:// proxy, which is not supported: write {EXAMPLE} if it is an HTTP \
                     proxy (what goes through it is encrypted all the same)"
                ),
            );
        }
        _ => {
            return wrong(
                name,
                format!("has a scheme that is not http: write {EXAMPLE}"),
            );
        }
    }
    // The last "@": people do not always percent-encode one in a password.
    let (userinfo, rest) = match rest.rsplit_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authorization = match userinfo {
        Some(userinfo) => Some(basic(name, userinfo)?),
        None => None,
    };
    // The endpoint's own parser knows what a host and a port are; 80 where none is named.
    match Endpoint::parse(&format!("http://{authority}")) {
        Ok(endpoint) => Ok(Proxy {
            variable: name,
            host: endpoint.host().to_owned(),
            port: endpoint.port(),
            authorization,
        }),
        Err(_) => wrong(
            name,
            format!(
                "is not usable: expected something like {EXAMPLE} or \
                 http://user:password@proxy.example.com:3128"
            ),
        ),
    }
}

/// RFC 7617 section 2: "Basic", then user-id ":" password in base64.
fn basic(name: &'static str, userinfo: &str) -> Result<String, SettingError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut plain = percent_decode(user);
    if plain.contains(&b':') {
        // "a user-id containing a colon character is invalid"
        return wrong(
            name,
            "has a colon in its user name, which Basic authentication can not send",
        );
    }
    plain.push(b':');
    plain.extend(percent_decode(password));
    Ok(format!("Basic {}", STANDARD.encode(plain)))
}

/// A percent sign without two hex digits behind it stands for itself.
fn percent_decode(text: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = hex(bytes.get(at + 1)).zip(hex(bytes.get(at + 2)));
        match pair.filter(|_| byte == b'%') {
            Some((high, low)) => {
                out.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Variables<'a>(&'a [(&'a str, &'a str)]);

    impl Source for Variables<'_> {
        fn variable(&self, name: &str) -> Option<String> {
            let found = self.0.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("no files here".to_owned())
        }
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).expect(url)
    }

    fn shown(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let rules = ProxyRules::read(&Variables(variables));
        rules.choose(&endpoint(url)).map(Proxy::to_string)
    }

    const TARGET: &str = "https://mcp.example.com/ws/x";

    #[test]
    fn variables_have_an_order() {
        let check = |variables: &[(&str, &str)], url: &str, expect: Option<&str>| {
            assert_eq!(
                shown(variables, url).as_deref(),
                expect,
                "{variables:?} {url}"
            );
        };
        let all = [
            ("https_proxy", "http://a:1"),
            ("HTTPS_PROXY", "http://b:2"),
            ("all_proxy", "http://c:3"),
            ("ALL_PROXY", "http://d:4"),
        ];
        check(&all, TARGET, Some("http://a:1 (https_proxy)"));
        check(&all[1..], TARGET, Some("http://b:2 (HTTPS_PROXY)"));
        check(&all[2..], TARGET, Some("http://c:3 (all_proxy)"));
        check(&all[3..], TARGET, Some("http://d:4 (ALL_PROXY)"));
        let empty = [
            ("https_proxy", " "),
            ("HTTPS_PROXY", ""),
            ("ALL_PROXY", "d:4"),
        ];
        check(&empty, TARGET, Some("http://d:4 (ALL_PROXY)"));
        check(&[], TARGET, None);
        let plain = "http://mcp.example.com/";
        check(&[("http_proxy", "http://e:5")], TARGET, None);
        check(
            &[("http_proxy", "e:5")],
            plain,
            Some("http://e:5 (http_proxy)"),
        );
        check(
            &[("HTTP_PROXY", "e:5"), ("HTTPS_PROXY", "f:6")],
            plain,
            None,
        );
        check(&all, plain, Some("http://c:3 (all_proxy)"));
    }

    #[test]
    fn urls_of_proxies() {
        let check = |value: &str, expect: &str, credentials: Option<&str>| {
            let rules = ProxyRules::read(&Variables(&[("HTTPS_PROXY", value)]));
            let proxy = rules.choose(&endpoint(TARGET)).expect(value);
            assert_eq!(proxy.to_string(), format!("{expect} (HTTPS_PROXY)"));
            let expect = credentials.map(|plain| format!("Basic {}", STANDARD.encode(plain)));
            assert_eq!(proxy.authorization, expect, "{value}");
        };
        check("proxy:3128", "http://proxy:3128", None);
        check(
            "HTTP://Proxy.Example:3128/",
            "http://proxy.example:3128",
            None,
        );
        check("http://proxy", "http://proxy:80", None);
        check("http://[::1]:3128", "http://[::1]:3128", None);
        check("http://u:p@proxy:1", "http://proxy:1", Some("u:p"));
        check("u@proxy:1", "http://proxy:1", Some("u:"));
        check(
            "http://a%40b:p%3A%2f%zz%@proxy:1",
            "http://proxy:1",
            Some("a@b:p:/%zz%"),
        );
        check(
            "http://u:p@ss/w#rd@proxy:1/",
            "http://proxy:1",
            Some("u:p@ss/w#rd"),
        );
    }

    #[test]
    fn what_can_not_be_used_is_said_without_the_password() {
        let check = |value: &str, expect: &str| {
            let rules = ProxyRules::read(&Variables(&[("ALL_PROXY", value)]));
            let error = rules.check(&endpoint(TARGET)).expect_err(value).to_string();
            assert!(
                error.starts_with("ALL_PROXY ") && error.contains(expect),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
            assert!(!format!("{rules:?}").contains("secret"), "{rules:?}");
            assert_eq!(rules.choose(&endpoint(TARGET)), None);
            // Where it does not matter, it does not hurt.
            assert_eq!(rules.check(&endpoint("http://localhost:1/")), Ok(()));
        };
        check("socks5h://u:secret@proxy:1080", "socks5h:// proxy");
        check("socks://proxy", "not supported");
        check("https://u:secret@proxy:443", "https:// proxy");
        check("secret://proxy", "not http");
        check("http://u:secret@", "expected something like");
        check("http://u:secret@proxy:99999", "expected something like");
        check("http://us%3Aer:secret@proxy", "colon");
        let rules = ProxyRules::read(&Variables(&[("HTTPS_PROXY", "u:secret@proxy:1")]));
        assert!(!format!("{rules:?}").contains("secret"));
    }

    #[test]
    fn hosts_without_proxy() {
        let direct = |list: &str, url: &str| {
            let variables = [("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", list)];
            shown(&variables, url).is_none()
        };
        let yes = |list: &str, url: &str| assert!(direct(list, url), "{list} {url}");
        let no = |list: &str, url: &str| assert!(!direct(list, url), "{list} {url}");
        yes("*", TARGET);
        yes("a.com, mcp.example.com", TARGET);
        yes("a.com\texample.com,,", TARGET);
        yes(".example.com", TARGET);
        yes("*.example.com", TARGET);
        yes(".Example.COM.", "https://example.com/");
        no("ample.com", TARGET);
        no("mcp.example.com.org", TARGET);
        no("www.mcp.example.com", TARGET);
        yes("example.com:443", TARGET);
        no("example.com:8443", TARGET);
        yes("example.com:8443", "https://example.com:8443/");
        yes("10.1.2.3", "https://10.1.2.3/");
        yes("10.0.0.0/8", "https://10.1.2.3/");
        no("10.0.0.0/16", "https://10.1.2.3/");
        no("10.0.0.0/8", "https://mcp.example.com/");
        yes("0.0.0.0/0", "https://192.0.2.1/");
        no("0.0.0.0/33", "https://192.0.2.1/");
        yes("10.0.0.0/8", "https://[::ffff:10.1.2.3]/");
        yes("2001:db8::1", "https://[2001:db8::1]/");
        yes("[2001:db8::1]:443", "https://[2001:db8::1]/");
        yes("2001:db8::/32", "https://[2001:db8:1::1]/");
        no("2001:db8::/48", "https://[2001:db8:1::1]/");
        no("0.0.0.0/0", "https://[2001:db8::1]/");
        let lower = [
            ("HTTPS_PROXY", "p:1"),
            ("no_proxy", "a.com"),
            ("NO_PROXY", "*"),
        ];
        assert!(shown(&lower, TARGET).is_some());
    }

    #[test]
    fn this_machine_is_never_asked_for_through_a_proxy() {
        let variables = [
            ("ALL_PROXY", "http://proxy:1"),
            ("http_proxy", "http://proxy:1"),
        ];
        for url in [
            "https://localhost:1/",
            "http://127.0.0.1:1/",
            "https://127.9.9.9/",
            "https://[::1]/",
            "http://app.localhost/",
        ] {
            assert_eq!(shown(&variables, url), None, "{url}");
        }
    }
}
