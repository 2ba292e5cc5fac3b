//! Where a word of a command leads: from the folder it runs in, through symbolic links, to a protected place.

use super::{Files, Own, glob, paths};

/// Most names that are looked up on the disk for one command line; no line a person reads has more.
const LOOKUPS_MAX: usize = 2_000;
/// Links that lead nowhere are followed by hand.
const LINKS_MAX: usize = 8;
/// Folders that a line may have changed to.
const FOLDERS_MAX: usize = 16;

/// The folders a line may run in, and what is asked of the disk.
pub(super) struct Places<'a> {
    files: &'a dyn Files,
    own: &'a Own,
    home: Option<&'a str>,
    project: String,
    folders: Vec<String>,
    /// A `cd` led to a place that is not known.
    pub(super) lost: bool,
    lookups: usize,
}

/// What a path is.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Nothing,
    /// Protected, and why.
    Protected(&'static str),
    /// Exists outside the project.
    Outside,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        files: &'a dyn Files,
        own: &'a Own,
        home: Option<&'a str>,
        folder: &str,
    ) -> Self {
        Self {
            files,
            own,
            home,
            project: project(files, folder),
            folders: vec![folder.to_owned()],
            lost: false,
            lookups: 0,
        }
    }

    /// The home folder.
    pub(super) fn home(&self) -> Option<&'a str> {
        self.home
    }

    /// The folder the line begins in.
    pub(super) fn folder(&self) -> &str {
        &self.folders[0]
    }

    /// `cd path`: from now on the line may run there, or still where it was.
    pub(super) fn change_to(&mut self, path: &str) {
        let new: Vec<String> = self
            .folders
            .iter()
            .map(|folder| paths::join(folder, path))
            .collect();
        for folder in new {
            if self.folders.contains(&folder) {
                continue;
            }
            if self.folders.len() == FOLDERS_MAX {
                self.lost = true;
                return;
            }
            self.folders.push(folder);
        }
    }

    /// True where too much was asked of the disk.
    pub(super) fn is_exhausted(&self) -> bool {
        self.lookups > LOOKUPS_MAX
    }

    /// What is known of a path that is changed. `~` was replaced before.
    pub(super) fn changed(&mut self, path: &str) -> Found {
        if let Some(reason) = paths::protected(path) {
            return Found::Protected(reason);
        }
        let mut found = Found::Nothing;
        for folder in self.folders.clone() {
            let absolute = paths::join(&folder, path);
            // The shell's `..` and the kernel's differ behind a link: both are looked at.
            let real = self.real(&format!(
                "{}/{path}",
                if path.starts_with('/') { "" } else { &folder }
            ));
            for candidate in [&absolute, &real] {
                if self.own.is_one_of_us(candidate) {
                    return Found::Protected("belongs to this guard");
                }
                if let Some(reason) = paths::protected(candidate) {
                    return Found::Protected(reason);
                }
            }
            let outside = !paths::within(&real, &self.project) && !real.starts_with("/dev/");
            if outside && self.files.exists(&real) {
                found = Found::Outside;
            }
        }
        found
    }

    /// True where a path that is read is the settings file of ours, which holds the token, or may lead to it.
    pub(super) fn tells_secrets(&mut self, path: &str, recursive: bool) -> bool {
        let Some(settings) = self.own.settings.clone() else {
            return false;
        };
        self.folders.clone().iter().any(|folder| {
            let absolute = paths::join(folder, path);
            let real = self.real(&absolute);
            let expands = path.contains(['*', '?', '[', '{']) && glob::shell(&absolute, &settings);
            absolute == settings
                || real == settings
                || expands
                || recursive && paths::within(&settings, &real)
        })
    }

    /// True where a folder holds something of ours.
    pub(super) fn holds_us(&mut self, path: &str) -> bool {
        self.folders.clone().iter().any(|folder| {
            let real = self.real(&paths::join(folder, path));
            real != "/" && self.own.is_within(&real)
        })
    }

    /// The path with its links resolved as far as it exists.
    fn real(&mut self, path: &str) -> String {
        self.lookups += 1;
        if self.lookups > LOOKUPS_MAX {
            return paths::tidy(path);
        }
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            if let Some(real) = self.files.real(&path) {
                return real;
            }
            // It does not exist (yet): the folder it would be in does.
            let tidied = paths::tidy(&path);
            let (mut above, mut below) = (tidied.as_str(), String::new());
            let mut real = None;
            while real.is_none() && !above.is_empty() && above != "/" {
                let (folder, name) = above.rsplit_once('/').unwrap_or(("", above));
                below = if below.is_empty() {
                    name.to_owned()
                } else {
                    format!("{name}/{below}")
                };
                above = folder;
                real = self.files.real(if above.is_empty() { "/" } else { above });
            }
            let whole = format!(
                "{}/{below}",
                real.as_deref().unwrap_or_default().trim_end_matches('/')
            );
            match self.files.link(&whole) {
                Some(target) => {
                    let folder = whole.rsplit_once('/').map_or("", |(folder, _)| folder);
                    path = paths::join(folder, &target);
                }
                None => return whole,
            }
        }
        path
    }
}

/// The repository that the folder belongs to, or the folder.
fn project(files: &dyn Files, folder: &str) -> String {
    let start = files.real(folder).unwrap_or_else(|| folder.to_owned());
    let mut above = start.as_str();
    while !above.is_empty() {
        if files.exists(&format!("{above}/.git")) {
            return above.to_owned();
        }
        above = above.rsplit_once('/').map_or("", |(above, _)| above);
    }
    start
}
