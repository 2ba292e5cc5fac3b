//! Writes a host's configuration: all of it or nothing, with a backup, as the file's owner had it.

use super::entry::{entry_text, hide};
use super::{EditError, Host, NAME, Server, find};
use crate::config::Source;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Claude Code keeps its history in the same file; no configuration is longer.
const FILE_MAX_BYTES: u64 = 64 << 20;
/// Nobody keeps more backups.
const BACKUPS_MAX: u32 = 10_000;

/// A file as it was found.
struct Original {
    bytes: Vec<u8>,
    metadata: Metadata,
}

/// Puts the server into the host's configuration and says what was changed. The error says what
/// stands in the way; then nothing was changed.
pub fn install(host: &Host, server: &Server, source: &dyn Source) -> Result<String, String> {
    let path = find::file(host, source)?;
    let edit = |text: &str| server.add_to(text, host);
    let Some(Edited {
        old,
        new,
        original,
        backup,
    }) = change(host, &path, edit)?
    else {
        return Ok(format!("{} is already up to date.\n", path.display()));
    };
    let mut report = told(
        host,
        &path,
        &server.shown(&old, host),
        &server.shown(&new, host),
    );
    push_backup(&mut report, backup);
    let mode = original.map_or(0o600, |original| original.metadata.mode());
    if server.holds_token && mode & 0o077 != 0 {
        report.push_str(&format!(
            "Others on this machine may read the token in it (mode {:o}): chmod 600, or use \
             AEROSTACK_TOKEN_FILE\n",
            mode & 0o777
        ));
    }
    report.push_str(&format!("{}.\n", host.then));
    Ok(report)
}

/// Takes the server out of the host's configuration again.
pub fn uninstall(host: &Host, source: &dyn Source) -> Result<String, String> {
    let path = find::file(host, source)?;
    let edit = |text: &str| host.format.remove(text, &host.entry());
    let Some(Edited {
        old, new, backup, ..
    }) = change(host, &path, edit)?
    else {
        return Ok(format!("{} has no entry {NAME}.\n", path.display()));
    };
    let mut report = told(
        host,
        &path,
        &hide(&entry_text(&old, host)),
        &hide(&entry_text(&new, host)),
    );
    push_backup(&mut report, backup);
    report.push_str(&format!("{}.\n", host.then));
    Ok(report)
}

/// What a change did.
pub(super) struct Edited {
    pub(super) old: String,
    pub(super) new: String,
    original: Option<Original>,
    pub(super) backup: Option<PathBuf>,
}

/// Changes a host's file; `None`: there was nothing to change.
pub(super) fn change(
    host: &Host,
    path: &Path,
    edit: impl Fn(&str) -> Result<String, EditError>,
) -> Result<Option<Edited>, String> {
    let shown = path.display();
    let (target, original) = open(path).map_err(|why| format!("{shown} {why}"))?;
    let old = match &original {
        Some(original) => std::str::from_utf8(&original.bytes)
            .map_err(|_| format!("{shown} is not UTF-8 text: it was not changed"))?,
        None => "",
    };
    let new = edit(old).map_err(|why| {
        format!(
            "{shown} was not changed: {why}. Correct it, or paste what --print-config {} prints",
            host.name
        )
    })?;
    if new == old {
        return Ok(None);
    }
    // What was written must be found again: if not, the file is not what it looks like.
    if edit(&new).as_ref() != Ok(&new) {
        return Err(format!(
            "{shown} was not changed: it is written in a way that can not be edited safely. Paste what \
             --print-config {} prints",
            host.name
        ));
    }
    let backup = match &original {
        Some(original) => Some(back_up(&target, original)?),
        None => None,
    };
    replace(&target, new.as_bytes(), original.as_ref())
        .map_err(|why| format!("{shown} was not changed: {why}"))?;
    Ok(Some(Edited {
        old: old.to_owned(),
        new,
        original,
        backup,
    }))
}

fn told(host: &Host, path: &Path, old: &str, new: &str) -> String {
    let mut report = format!("{} ({})\n", path.display(), host.entry().join("."));
    let change = difference(old, new);
    report.push_str(match change.is_empty() {
        true => "  only what is not shown: the token\n",
        false => &change,
    });
    report
}

pub(super) fn push_backup(report: &mut String, backup: Option<PathBuf>) {
    if let Some(backup) = backup {
        report.push_str(&format!("The file as it was: {}\n", backup.display()));
    }
}

/// The real file behind a path, and what it holds, if it exists.
fn open(path: &Path) -> Result<(PathBuf, Option<Original>), String> {
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.is_symlink() {
                return Err("is a symbolic link that leads nowhere".to_owned());
            }
            return Ok((path.to_owned(), None));
        }
        Err(error) => return Err(format!("can not be read: {error}")),
    };
    let metadata = target
        .metadata()
        .map_err(|error| format!("can not be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    if metadata.len() > FILE_MAX_BYTES {
        return Err("is too large for a configuration".to_owned());
    }
    // A superuser may write to it all the same, but somebody did not want that.
    if metadata.permissions().readonly() {
        return Err("is read-only: it was not changed".to_owned());
    }
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&target)
        .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("can not be changed: {error}"))?;
    Ok((target, Some(Original { bytes, metadata })))
}

/// `file.aerostack-backup.1`, or the first number that is free: some hosts number `.bak` files of
/// their own and throw old ones away. It may hold tokens: it is for its owner alone.
fn back_up(target: &Path, original: &Original) -> Result<PathBuf, String> {
    for number in 1..BACKUPS_MAX {
        let backup = beside(target, "", &format!(".{NAME}-backup.{number}"));
        match create(&backup, &original.bytes, Some(original), Some(0o600)) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("no backup {}: {error}", backup.display())),
        }
    }
    Err(format!(
        "{} has too many backups: remove some",
        target.display()
    ))
}

fn beside(target: &Path, before: &str, behind: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(before);
    name.push(target.file_name().unwrap_or_default());
    name.push(behind);
    target.with_file_name(name)
}

/// A new file beside the old one takes its place in one step: a reader sees the old text or the new.
fn replace(target: &Path, bytes: &[u8], original: Option<&Original>) -> Result<(), String> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    if original.is_none() {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let new = beside(target, ".", &format!(".new.{}", std::process::id()));
    let written = create(&new, bytes, original, None)
        .map_err(|error| error.to_string())
        .and_then(|()| is_unchanged(target, original))
        .and_then(|()| fs::rename(&new, target).map_err(|error| error.to_string()));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    // The name is on the disk, too, where the file system can promise that.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Hosts write their files while they run.
fn is_unchanged(target: &Path, original: Option<&Original>) -> Result<(), String> {
    let same = match original {
        Some(original) => fs::read(target).is_ok_and(|now| now == original.bytes),
        None => target.symlink_metadata().is_err(),
    };
    match same {
        true => Ok(()),
        false => Err("another program wrote it at the same time, try again".to_owned()),
    }
}

/// A new file with the original's owner, and its permissions if no others are asked for; without an
/// original nobody else's.
fn create(
    path: &Path,
    bytes: &[u8],
    original: Option<&Original>,
    mode: Option<u32>,
) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let filled = fill(&mut file, bytes, original, mode);
    if filled.is_err() {
        let _ = fs::remove_file(path);
    }
    filled
}

fn fill(
    file: &mut File,
    bytes: &[u8],
    original: Option<&Original>,
    mode: Option<u32>,
) -> std::io::Result<()> {
    file.write_all(bytes)?;
    if let Some(Original { metadata, .. }) = original {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(&*file, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        let mode = mode.unwrap_or(metadata.mode() & 0o7777);
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

/// The lines of an entry that went and came, without what both have at the beginning and the end.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old.iter().rev().zip(new.iter().rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    for (sign, lines) in [
        ('-', &old[..old.len() - tail]),
        ('+', &new[..new.len() - tail]),
    ] {
        for line in lines {
            out.extend([sign, ' ']);
            out.push_str(&crate::log::printable(line, 300));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts write their files while they run: what came after the file was read is never replaced.
    #[test]
    fn what_another_program_writes_meanwhile_stays() {
        let host = super::super::find("cursor").expect("it is known");
        let folder =
            std::env::temp_dir().join(format!("aerostack-meanwhile-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of ours");
        let path = folder.join("mcp.json");
        let check = |before: Option<&str>, left: &[&str]| {
            match before {
                Some(text) => fs::write(&path, text).expect("a file of ours"),
                None => fs::remove_file(&path).expect("it was there"),
            }
            let edit = |_: &str| {
                fs::write(&path, "theirs").expect("a file of ours");
                Ok("ours".to_owned())
            };
            let error = change(host, &path, edit).err();
            let why = "another program wrote it at the same time, try again";
            let expect = format!("{} was not changed: {why}", path.display());
            assert_eq!(error.as_deref(), Some(&expect[..]));
            assert_eq!(fs::read_to_string(&path).expect("it is there"), "theirs");
            let names = fs::read_dir(&folder).expect("it is ours");
            let names = names.map(|entry| entry.expect("readable").file_name());
            let mut names: Vec<_> = names
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            assert_eq!(names, left);
        };
        check(Some("before"), &["mcp.json", "mcp.json.aerostack-backup.1"]);
        check(
            Some("longer than theirs"),
            &[
                "mcp.json",
                "mcp.json.aerostack-backup.1",
                "mcp.json.aerostack-backup.2",
            ],
        );
        check(
            None,
            &[
                "mcp.json",
                "mcp.json.aerostack-backup.1",
                "mcp.json.aerostack-backup.2",
            ],
        );
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
