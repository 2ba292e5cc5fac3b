//! The settings file on this machine: where it is, whether it can be trusted, reading and writing it.
//!
//! Owns the rule that a file with a token is its owner's alone. It must never follow a name twice:
//! what was checked is what is read.

use crate::config::{Limits, SettingsFile};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Others may read.
const READABLE_BY_OTHERS: u32 = 0o044;

/// What was found in a settings file.
pub(super) struct Found {
    pub(super) file: SettingsFile,
    /// Odd, but workable.
    pub(super) warnings: Vec<String>,
}

/// Where the file is looked for when nobody names one: below XDG_CONFIG_HOME, else HOME. `None`: there
/// is neither, or they are relative, which the XDG specification says to ignore.
pub fn default_settings_file() -> Option<PathBuf> {
    default_in(true).or_else(|| default_in(false))
}

/// Below XDG_CONFIG_HOME, or below HOME.
pub(super) fn default_in(xdg: bool) -> Option<PathBuf> {
    let config = match xdg {
        true => absolute("XDG_CONFIG_HOME")?,
        false => absolute("HOME")?.join(".config"),
    };
    Some(config.join("aerostack-gateway").join("env"))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    path.is_absolute().then_some(path)
}

/// Reads the file; `Ok(None)` where there is none. The error says what is wrong and how to fix it.
pub(super) fn read(path: &Path) -> Result<Option<Found>, String> {
    let Some((text, warning)) = read_text(path)? else {
        return Ok(None);
    };
    let file = SettingsFile::parse(&text)?;
    let mut warnings: Vec<String> = warning.into_iter().collect();
    if !file.foreign().is_empty() {
        let names = file.foreign().join(", ");
        let names = crate::log::printable(&names, 200);
        warnings.push(format!(
            "the settings file {} holds {names}: only AEROSTACK_* settings count there",
            path.display()
        ));
    }
    Ok(Some(Found { file, warnings }))
}

/// The text of a settings file that can be trusted; `Ok(None)` where there is none.
pub(crate) fn settings_file_content(path: &Path) -> Result<Option<String>, String> {
    Ok(read_text(path)?.map(|(text, _)| text))
}

/// The text, and what is odd about the file.
fn read_text(path: &Path) -> Result<Option<(String, Option<String>)>, String> {
    // Without O_NONBLOCK the opening of a pipe waits for its writer, for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, OFlags::RDONLY | flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if error == rustix::io::Errno::NOENT => return Ok(None),
        Err(error) => {
            let error = std::io::Error::from(error);
            return Err(format!("can not be read: {error}"));
        }
    };
    let warning = trusted(&file, path)?;
    let max = Limits::default().settings_file_max_bytes;
    let mut text = String::new();
    file.take(max as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("can not be read: {error}"))?;
    match text.len() > max {
        true => Err(format!("is longer than {} KiB", max >> 10)),
        false => Ok(Some((text, warning))),
    }
}

/// Only the user or root can have written it; who else can read it is refused in a home, where it is
/// a mistake, and warned of elsewhere: containers are handed their secrets so.
fn trusted(file: &File, path: &Path) -> Result<Option<String>, String> {
    let metadata = file
        .metadata()
        .map_err(|error| format!("can not be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err("belongs to another user: only a file of your own is read".to_owned());
    }
    let mode = metadata.mode() & 0o777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(format!(
            "can be written by others (mode {mode:o}): chmod 600 {}",
            path.display()
        ));
    }
    if mode & READABLE_BY_OTHERS == 0 {
        return Ok(None);
    }
    match is_in_home(path) {
        true => Err(format!(
            "can be read by others (mode {mode:o}): chmod 600 {}",
            path.display()
        )),
        false => Ok(Some(format!(
            "the settings file {} can be read by others (mode {mode:o})",
            path.display()
        ))),
    }
}

fn is_in_home(path: &Path) -> bool {
    let home = absolute("HOME").and_then(|home| home.canonicalize().ok());
    // A service without a home of its own has HOME=/.
    let home = home.filter(|home| home.parent().is_some());
    match (home, path.canonicalize()) {
        (Some(home), Ok(path)) => path.starts_with(home),
        (_, Ok(_) | Err(_)) => false,
    }
}

/// Writes a new settings file in one step: its folder 0700, the file 0600. A link stays one: what it leads to
/// is written.
pub(crate) fn write_settings_file(path: &Path, text: &str) -> Result<(), String> {
    let shown = path.display();
    let real = path.canonicalize();
    let path = real.as_deref().unwrap_or(path);
    let folder = path
        .parent()
        .ok_or_else(|| format!("{shown} is no file's name"))?;
    let why = |error: std::io::Error| format!("{shown} was not written: {error}");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(why)?;
    let new = folder.join(format!(".env.new.{}", std::process::id()));
    let written = create(&new, text).and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        if error.kind() != ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&new);
        }
        return Err(why(error));
    }
    // The name is on the disk, too, where the file system can promise that.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_one_and_what_it_leads_to_is_written() {
        let dir = std::env::temp_dir().join(format!("aerostack-settings-{}", std::process::id()));
        let (kept, link) = (dir.join("kept/env"), dir.join("config/env"));
        for folder in ["kept", "config"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        fs::write(&kept, "AEROSTACK_TOKEN=old\n").unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        write_settings_file(&link, "AEROSTACK_TOKEN=new\n").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "AEROSTACK_TOKEN=new\n");
        assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
        let left = |folder: &str| fs::read_dir(dir.join(folder)).unwrap().count();
        assert_eq!((left("kept"), left("config")), (1, 1));
        fs::remove_dir_all(&dir).unwrap();
    }
}
