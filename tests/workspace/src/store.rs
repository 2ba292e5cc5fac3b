//! What `--data DIR` keeps: one SQLite file, written before anything follows from a change.
//!
//! A transaction that was committed survives the end of the process, also a kill; `synchronous=FULL` makes it
//! survive the end of the machine. Approvals, grants and messages are kept as JSON beside their keys, so that
//! numbers and strings stay as they came, byte for byte.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, params};

use crate::audit::Entry;
use crate::sync::Locked;

/// The file's name in the directory.
pub const FILE: &str = "workspace.sqlite";
/// How the tables are laid out, in `user_version`.
const VERSION: i64 = 1;
/// How long another program's look into the file is waited for.
const BUSY_MAX: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE approvals (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, record TEXT NOT NULL);
    CREATE TABLE grants (id TEXT PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE messages (n INTEGER PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE read_marks (bridge TEXT PRIMARY KEY, n INTEGER NOT NULL);
    CREATE TABLE audit (n INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL);
    CREATE TABLE tokens (name TEXT PRIMARY KEY, role TEXT NOT NULL, secret TEXT NOT NULL);
    CREATE TABLE logins (digest TEXT PRIMARY KEY, token TEXT NOT NULL);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    PRAGMA user_version = 1;";

/// The file.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens `dir/workspace.sqlite`, and makes it if it is not there. Nobody but its owner may read it.
    pub fn open(dir: &Path) -> Result<Self, String> {
        make_private(dir).map_err(|e| e.to_string())?;
        let file = dir.join(FILE);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&file)?;
            connection.busy_timeout(BUSY_MAX)?;
            // Two workspaces on one file would each believe in their own state.
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            let version: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
            if version == 0 {
                connection.execute_batch(&format!("BEGIN;{TABLES}COMMIT;"))?;
            }
            Ok(connection)
        };
        let connection = open().map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                format!("{} is in use by another workspace", file.display())
            }
            _ => format!("{}: {e}", file.display()),
        })?;
        let store = Store {
            connection: Mutex::new(connection),
        };
        match store.one::<i64>("PRAGMA user_version", [])? {
            Some(VERSION) => Ok(store),
            version => Err(format!(
                "{} is of version {}, and this program knows {VERSION}",
                file.display(),
                version.unwrap_or_default()
            )),
        }
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<(), String> {
        let connection = self.connection.locked();
        let done = connection
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(params));
        done.map(|_| ())
            .map_err(|e| format!("it could not be saved: {e}"))
    }

    fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<T>, String> {
        let connection = self.connection.locked();
        let found = connection.query_row(sql, params, |row| row.get(0));
        found
            .optional()
            .map_err(|e| format!("it could not be read: {e}"))
    }

    fn rows<T>(
        &self,
        sql: &str,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, String> {
        let connection = self.connection.locked();
        let all = connection.prepare(sql).and_then(|mut s| {
            let rows = s.query_map([], |row| read(row))?;
            rows.collect()
        });
        all.map_err(|e| format!("it could not be read: {e}"))
    }

    /// Approvals in their order: id and record.
    pub fn approvals(&self) -> Result<Vec<(String, String)>, String> {
        let sql = "SELECT id, record FROM approvals ORDER BY n";
        self.rows(sql, |r| Ok((r.get(0)?, r.get(1)?)))
    }

    /// Keeps an approval.
    pub fn keep_approval(&self, id: &str, record: &str) -> Result<(), String> {
        let sql = "INSERT INTO approvals (id, record) VALUES (?1, ?2) \
                   ON CONFLICT (id) DO UPDATE SET record = excluded.record";
        self.run(sql, params![id, record])
    }

    /// Forgets an approval.
    pub fn forget_approval(&self, id: &str) {
        self.run("DELETE FROM approvals WHERE id = ?1", params![id])
            .ok();
    }

    /// Grants: their records.
    pub fn grants(&self) -> Result<Vec<String>, String> {
        self.rows("SELECT record FROM grants ORDER BY rowid", |r| r.get(0))
    }

    /// Keeps a grant.
    pub fn keep_grant(&self, id: &str, record: &str) -> Result<(), String> {
        let sql = "INSERT OR REPLACE INTO grants (id, record) VALUES (?1, ?2)";
        self.run(sql, params![id, record])
    }

    /// Forgets a grant.
    pub fn forget_grant(&self, id: &str) -> Result<(), String> {
        self.run("DELETE FROM grants WHERE id = ?1", params![id])
    }

    /// Messages in their order: number and record.
    pub fn messages(&self) -> Result<Vec<(u64, String)>, String> {
        let sql = "SELECT n, record FROM messages ORDER BY n";
        self.rows(sql, |r| Ok((unsigned(r.get(0)?), r.get(1)?)))
    }

    /// Keeps a message, and those of the last `max` numbers.
    pub fn keep_message(&self, number: u64, record: &str, max: u64) -> Result<(), String> {
        let sql = "INSERT INTO messages (n, record) VALUES (?1, ?2)";
        self.run(sql, params![signed(number), record])?;
        let oldest = number.saturating_sub(max);
        self.run(
            "DELETE FROM messages WHERE n <= ?1",
            params![signed(oldest)],
        )
    }

    /// Up to which message each bridge has read.
    pub fn read_marks(&self) -> Result<Vec<(String, u64)>, String> {
        let sql = "SELECT bridge, n FROM read_marks";
        self.rows(sql, |r| Ok((r.get(0)?, unsigned(r.get(1)?))))
    }

    /// Keeps a read mark.
    pub fn keep_read_mark(&self, bridge: &str, number: u64) {
        let sql = "INSERT OR REPLACE INTO read_marks (bridge, n) VALUES (?1, ?2)";
        self.run(sql, params![bridge, signed(number)]).ok();
    }

    /// The newest audit entries, oldest first.
    pub fn audit(&self, limit: usize) -> Result<Vec<Entry>, String> {
        let sql = format!(
            "SELECT n, at_ms, actor, event, detail FROM \
             (SELECT * FROM audit ORDER BY n DESC LIMIT {limit}) ORDER BY n"
        );
        self.rows(&sql, |r| {
            Ok(Entry {
                n: unsigned(r.get(0)?),
                at_ms: unsigned(r.get(1)?),
                actor: r.get(2)?,
                event: r.get(3)?,
                detail: r.get(4)?,
            })
        })
    }

    /// Keeps an audit entry. A full disk must not stop approvals: the entry stays in memory then.
    pub fn keep_audit(&self, entry: &Entry) {
        let sql = "INSERT INTO audit (n, at_ms, actor, event, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (n, at_ms) = (signed(entry.n), signed(entry.at_ms));
        self.run(
            sql,
            params![n, at_ms, entry.actor, entry.event, entry.detail],
        )
        .ok();
    }

    /// Tokens: name, role, secret.
    pub fn tokens(&self) -> Result<Vec<(String, String, String)>, String> {
        let sql = "SELECT name, role, secret FROM tokens ORDER BY rowid";
        self.rows(sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
    }

    /// Keeps a token.
    pub fn keep_token(&self, name: &str, role: &str, secret: &str) -> Result<(), String> {
        let sql = "INSERT INTO tokens (name, role, secret) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (name) DO UPDATE SET role = excluded.role, secret = excluded.secret";
        self.run(sql, params![name, role, secret])
    }

    /// Logins of the dashboard: the digest of the cookie, and the token's name.
    pub fn logins(&self) -> Result<Vec<(String, String)>, String> {
        let sql = "SELECT digest, token FROM logins ORDER BY rowid";
        self.rows(sql, |r| Ok((r.get(0)?, r.get(1)?)))
    }

    /// Keeps a login.
    pub fn keep_login(&self, digest: &str, token: &str) {
        let sql = "INSERT OR REPLACE INTO logins (digest, token) VALUES (?1, ?2)";
        self.run(sql, params![digest, token]).ok();
    }

    /// Forgets a login.
    pub fn forget_login(&self, digest: &str) -> Result<(), String> {
        self.run("DELETE FROM logins WHERE digest = ?1", params![digest])
    }

    /// A fact by its name.
    pub fn fact(&self, name: &str) -> Result<Option<String>, String> {
        self.one("SELECT value FROM facts WHERE name = ?1", params![name])
    }

    /// Keeps a fact.
    pub fn keep_fact(&self, name: &str, value: &str) -> Result<(), String> {
        let sql = "INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)";
        self.run(sql, params![name, value])
    }
}

/// SQLite's integers are signed; ours never reach that far.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Makes a directory that only its owner can enter, with a file that only its owner can read: it holds tokens.
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let mut file = std::fs::OpenOptions::new();
    file.create(true).append(true).mode(0o600);
    file.open(dir.join(FILE)).map(drop)
}
