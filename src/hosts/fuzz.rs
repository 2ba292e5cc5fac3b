//! For the fuzz targets: the edits of hosts' files as pure functions of their text.

use super::hooks::{form, with_hook, without_hook};
use super::{Format, HOSTS, HookCommand, Host, Server};

/// All hosts.
pub fn all() -> &'static [Host] {
    HOSTS
}

/// A host's language ("Json"), and the names that lead to the gateway's entry.
pub fn place(host: &Host) -> (String, Vec<&'static str>) {
    (format!("{:?}", host.format), host.entry())
}

/// The text with the server in it, as `--install` leaves it; `None` where it would not touch the file.
pub fn installed(text: &str, host: &Host, server: &Server) -> Option<String> {
    let new = server.add_to(text, host).ok()?;
    (server.add_to(&new, host).as_ref() == Ok(&new)).then_some(new)
}

/// The text without the server, as `--uninstall` leaves it.
pub fn uninstalled(text: &str, host: &Host) -> Option<String> {
    let remove = |text: &str| host.format.remove(text, &host.entry());
    let new = remove(text).ok()?;
    (remove(&new).as_ref() == Ok(&new)).then_some(new)
}

/// The same with the hook of `--guard`; `None` also where the host has none.
pub fn hooked(text: &str, host: &Host, command: &HookCommand) -> Option<String> {
    let form = form(host).ok()?;
    let new = with_hook(text, form, command).ok()?;
    (with_hook(&new, form, command).as_ref() == Ok(&new)).then_some(new)
}

/// See [`hooked`].
pub fn unhooked(text: &str, host: &Host) -> Option<String> {
    let form = form(host).ok()?;
    let new = without_hook(text, form).ok()?;
    (without_hook(&new, form).as_ref() == Ok(&new)).then_some(new)
}

/// Whether an entry stands in the text; `None` where that can not be told.
pub fn has_entry(text: &str, host: &Host) -> Option<bool> {
    let found = host.format.get(text, &host.entry()).ok()?;
    Some(found.is_some())
}

/// Whether the host's file may hold comments and single quotes, which JSON's own readers refuse.
pub fn is_json5(host: &Host) -> bool {
    host.format == Format::Json5
}
