//! Where a host keeps its configuration on this system.

use super::{Host, Place};
use crate::config::Source;
use std::path::{Path, PathBuf};

/// What a place is relative to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Base {
    /// HOME.
    Home,
    /// XDG_CONFIG_HOME, else ~/.config, also on macOS.
    Config,
    /// Where the system's desktop programs keep their settings.
    Application,
}

/// The configuration file of a host, which may not exist yet. The error says what was looked for.
pub fn file(host: &Host, source: &dyn Source) -> Result<PathBuf, String> {
    for (variable, name) in host.variables {
        if let Some(path) = source.variable(variable).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            return Ok(match *name {
                "" => path,
                name => path.join(name),
            });
        }
    }
    let Some(home) = folder(source, "HOME") else {
        return Err("HOME is not set to an absolute path: where should it be written?".to_owned());
    };
    let config = match cfg!(target_os = "macos") {
        true => None,
        false => folder(source, "XDG_CONFIG_HOME"),
    };
    let dotted = || home.join(".config");
    let base = |place: &Place| match place.base {
        Base::Home => home.clone(),
        Base::Config => config.clone().unwrap_or_else(dotted),
        Base::Application if cfg!(target_os = "macos") => home.join("Library/Application Support"),
        Base::Application => config.clone().unwrap_or_else(dotted),
    };
    let file = |place: &Place| base(place).join(place.file);
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    if let Some(place) = host.places.iter().find(|place| exists(&file(place))) {
        return Ok(file(place));
    }
    let started = |place: &&Place| base(place).join(place.folder).is_dir();
    if let Some(place) = host.places.iter().find(started) {
        return Ok(file(place));
    }
    let looked: Vec<String> = host
        .places
        .iter()
        .map(|place| base(place).join(place.folder).display().to_string())
        .collect();
    Err(format!(
        "{} was not found on this system (no {}): start it once, or paste what --print-config {} prints",
        host.title,
        looked.join(", no "),
        host.name
    ))
}

/// "All paths set in these environment variables must be absolute. If an implementation encounters a
/// relative path […] it should consider the path invalid and ignore it." (XDG Base Directory
/// Specification)
fn folder(source: &dyn Source, variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(source.variable(variable)?);
    path.is_absolute().then_some(path)
}
