//! What is risky: the table of `risk.txt`, and the short lists of commands that need more than a row.

use Category::{ConfigModify, Database, Deploy, FileDelete, GitPush, ShellDestructive};

/// The contract's categories, and `other` for what a person asked to be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Files go away.
    FileDelete,
    /// More than files, or more than can be got back.
    ShellDestructive,
    /// Something leaves for a shared repository.
    GitPush,
    /// Settings, credentials, what starts by itself.
    ConfigModify,
    /// Something is put in front of others.
    Deploy,
    /// Data are changed.
    Database,
    /// What fits none.
    Other,
}

impl Category {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            FileDelete => "file_delete",
            ShellDestructive => "shell_destructive",
            GitPush => "git_push",
            ConfigModify => "config_modify",
            Deploy => "deploy",
            Database => "database",
            Category::Other => "other",
        }
    }
}

/// Words of a list, separated by blanks: a table of pointers would be four times as large.
pub(super) struct Words(pub(super) &'static str);

impl Words {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.0.split_ascii_whitespace()
    }

    pub(super) fn contains(&self, word: &str) -> bool {
        self.iter().any(|known| known == word)
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) category: Category,
    pub(super) pattern: &'static str,
    pub(super) reason: &'static str,
}

/// The table, as it is read.
const TABLE: &str = include_str!("risk.txt");

/// The rows of the table, in their order.
pub(super) fn rows() -> impl Iterator<Item = Row> {
    let mut category = Category::Other;
    TABLE.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            category = CATEGORIES
                .into_iter()
                .find(|known| known.name() == name.trim_end_matches(']'))
                .unwrap_or(Category::Other);
        }
        let (pattern, reason) = line.split_once(" : ")?;
        let is_row = !line.starts_with('#');
        is_row.then_some(Row {
            category,
            pattern,
            reason,
        })
    })
}

const CATEGORIES: [Category; 6] = [
    FileDelete,
    ShellDestructive,
    GitPush,
    ConfigModify,
    Deploy,
    Database,
];

/// Clients that take statements of a database, and where in their arguments those stand.
#[rustfmt::skip]
pub(super) const CLIENTS: Words = Words(
    "psql mysql mariadb sqlite3 sqlite mongosh mongo redis-cli valkey-cli duckdb \
    clickhouse-client clickhouse cqlsh sqlcmd pgcli mycli litecli usql sqlplus isql snowsql \
    turso influx cypher-shell",
);

/// What makes `vercel` do something else than to deploy a folder.
#[rustfmt::skip]
pub(super) const VERCEL_ELSE: Words = Words(
    "--version -v --help -h help ls list dev build pull inspect logs log login logout whoami link \
    init git bisect teams team switch certs dns project projects integration ic blob telemetry \
    target targets cache httpstat api curl mcp open activity metrics guidance microfrontends \
    rolling-release env domains alias rm remove promote rollback redeploy deploy install",
);

/// Words of statements that change data.
#[rustfmt::skip]
pub(super) const WRITING: Words = Words(
    "drop delete update insert alter truncate create replace grant revoke merge upsert copy \
    call do vacuum reindex attach detach load import rename exec execute set kill purge \
    shutdown outfile dumpfile restore optimize reassign remove dropdatabase dropindex \
    dropindexes deletemany deleteone insertmany insertone updatemany updateone replaceone \
    bulkwrite findoneanddelete findoneandupdate findoneandreplace findandmodify \
    renamecollection createcollection createindex createuser dropuser runcommand \
    admincommand fsynclock save write pg_terminate_backend pg_cancel_backend pg_read_file \
    lo_import lo_export dblink_exec setval nextval writefile eval",
);
/// Words of commands that change data, for key-value stores only.
#[rustfmt::skip]
pub(super) const WRITING_KEYS: Words = Words(
    "flushall flushdb del unlink setex setnx psetex mset msetnx getset getdel getex append \
    incr incrby incrbyfloat decr decrby setrange setbit expire pexpire expireat pexpireat \
    persist renamenx move hset hmset hsetnx hdel hincrby hincrbyfloat lpush rpush lpushx \
    rpushx lpop rpop blpop brpop lset lrem ltrim linsert lmove rpoplpush sadd srem spop \
    smove zadd zrem zincrby zpopmin zpopmax zremrangebyrank zremrangebyscore xadd xdel xtrim \
    config debug script evalsha fcall function migrate swapdb bgsave bgrewriteaof replicaof \
    slaveof failover acl module publish geoadd pfadd pfmerge sort reset client",
);

/// What deletes in the languages of interpreters, lower case.
#[rustfmt::skip]
pub(super) const CODE: &[&str] = &[
    "rmtree", "unlink", "os.remove", "os.rmdir", "removedirs", "rmsync", "rmdirsync",
    "unlinksync", "fs.rm", "file.delete", "fileutils.rm", "dir.rmdir", "removeall",
    "remove_dir", "remove_file", "removesync", "emptydir", "deno.remove", "drop table",
    "drop database", "drop schema", "delete from", "truncate table", ".rm(", ".rmdir(", "delete_all",
    "destroy_all",
];

/// Commands whose arguments are only read, so that a protected path among them is no change.
#[rustfmt::skip]
pub(super) const READ_ONLY: Words = Words(
    "cat head tail less more zcat zless grep egrep fgrep zgrep rg ag ack ls ll la eza exa lsd \
    dir stat file wc du df diff cmp comm cut tr echo printf print test [ [[ : true false pwd \
    cd pushd popd dirs which type whereis hash basename dirname realpath readlink md5sum md5 \
    sha1sum sha256sum sha512sum shasum cksum b2sum od hexdump strings jq column nl tac rev \
    fold fmt paste join bat batcat man help date whoami id groups uname hostname printenv ps \
    pgrep lsof sleep seq expr export set unset local readonly declare typeset source . exit \
    return break continue read wait jobs getent nm objdump ldd size otool tokei cloc history \
    uptime free lsblk tty ssh shellcheck delta mdcat glow ulimit umask shift getopts alias \
    kill pkill killall bc cal locale nproc arch",
);

/// Subcommands of git that only look.
#[rustfmt::skip]
pub(super) const GIT_READ_ONLY: Words = Words(
    "status diff log show blame grep ls-files ls-tree rev-parse rev-list check-ignore \
    describe cat-file shortlog branch commit remote fetch check-attr diff-tree name-rev \
    merge-base show-ref reflog whatchanged version help",
);

/// Commands that write to the files they are given: a name that is only known when it runs may be any file.
#[rustfmt::skip]
pub(super) const WRITERS: Words = Words(
    "cp mv tee install ln rsync scp touch chmod chown chgrp patch sponge ed ex vi vim nano \
    emacs",
);

/// Shells: `-c` is a script, and what is piped into one runs.
#[rustfmt::skip]
pub(super) const SHELLS: Words = Words(
    "sh bash zsh dash ksh mksh ash fish rbash yash csh tcsh nu pwsh powershell elvish xonsh",
);

/// Interpreters: what is piped into one runs, and what they are told with `-c` or `-e` can only be searched for
/// words of the table.
#[rustfmt::skip]
pub(super) const INTERPRETERS: Words = Words(
    "python pypy ipython node nodejs deno bun ruby irb perl php lua luajit tclsh expect \
    osascript rscript r julia groovy ghci iex elixir erl scala jshell awk gawk mawk nawk \
    ts-node tsx babel-node swift racket guile sbcl octave gdb lldb m4 sed",
);

/// A command that starts another one.
pub(super) struct Wrapper {
    /// The program, and the word that makes it one.
    pub(super) names: &'static str,
    /// Words before the command that are no options.
    pub(super) fixed: usize,
    /// Options without a value, by their letters.
    pub(super) flags: &'static str,
    /// An argument may be a whole script.
    pub(super) scripts: bool,
}

const fn wrapper(names: &'static str, fixed: usize, flags: &'static str, scripts: bool) -> Wrapper {
    Wrapper {
        names,
        fixed,
        flags,
        scripts,
    }
}

/// The wrappers.
#[rustfmt::skip]
pub(super) const WRAPPERS: &[Wrapper] = &[
    wrapper("sudo|doas|sudoedit|pkexec|run0|gosu|su-exec", 0, "AbEeHiKklnPSsVvB", true),
    wrapper("gosu|su-exec|chroot|setarch|taskset|chrt|timeout|gtimeout|flock|sg|repeat|faketime|sshpass", 1, "fvnx", true),
    wrapper("env", 0, "i0v", true),
    wrapper("!|unbuffer|nice|ionice|nohup|time|stdbuf|setsid|unshare|nsenter|command|builtin|exec|eval|busybox|toybox|strace|ltrace|catchsegv|caffeinate|noglob|nocorrect|-|coproc|fakeroot|proot|firejail|bwrap|torsocks|proxychains|proxychains4|rlwrap|dbus-run-session|xvfb-run|systemd-inhibit|cgexec|numactl|prlimit|valgrind|perf|arch|wsl|wine|ccache|distcc|sem|cpulimit|trickle|setpriv|daemonize|start-stop-daemon|systemd-cat|ts|chronic|softlimit|envdir", 0, "pf", false),
    wrapper("xargs|gxargs|parallel|rush", 0, "0prtxo", true),
    wrapper("watch|entr|nodemon|hyperfine|script|su|runuser|concurrently|npm-run-all|nix-shell|tmux|screen|at|trap|foreman|chokidar|onchange|watchexec|dotenv|cross-env|cross-env-shell|pm2|supervisor|wait-on|start-server-and-test|sg|xterm|gnome-terminal|expect|byobu|zellij|abduco|dtach|nsenter", 0, "bcdegptlrzkq", true),
    wrapper("ssh|autossh|mosh|rsh", 1, "1246AaCfGgKkMNnqsTtVvXxYy", true),
    wrapper("npx|sail|ddev|lando|bunx|pnpx|uvx|pipx|corepack|bun|deno|yarn|pnpm|rtx|nr|ni", 0, "yqs", true),
    wrapper("npm|pnpm|yarn|bun|bundle|poetry|uv|pipenv|pdm|rye|hatch|conda|mamba|micromamba|mise|asdf|rbenv|pyenv|nodenv|nvm|volta|devbox|nix|op|doppler|dotenvx|infisical|heroku|pipx|teller|chamber|railway|berglas|summon|envconsul|sops|tox|nox|lerna|fnm|pkgx|aws-vault|granted|sst exec|x|dlx|run|run-task|shell|develop|exec-env|tool", 1, "", true),
    wrapper("aws-vault|direnv|chamber|sops|nvm|envchain|lerna exec|run|exec-env", 2, "", true),
    wrapper("docker|podman|nerdctl|kubectl|oc|crictl|lxc|multipass|limactl|vagrant|apptainer|singularity|machinectl|incus|flatpak|distrobox|toolbox exec|run|shell|debug|ssh|enter", 2, "itd", true),
    wrapper("docker|podman|nerdctl container|compose|machine exec|run|ssh", 3, "itdT", true),
    wrapper("docker-compose|podman-compose|gcloud|fly|flyctl|colima exec|run|compute|ssh", 2, "itdT", true),
    wrapper("git submodule|bisect|rebase|foreach|for-each-repo|stash foreach|run|--exec|-x", 2, "", true),
];
