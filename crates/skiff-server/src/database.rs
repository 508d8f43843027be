//! Where the state is kept.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, params};

use crate::DatabaseError;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Fleets, by name.
    Fleets,
    /// Devices, by name.
    Devices,
    /// Whom a token is for, by its digest.
    Tokens,
    /// Releases, by fleet and number.
    Releases,
    /// Images, by release.
    Images,
    /// Signatures of releases whose images are not known, by release.
    Signatures,
    /// Deltas that are there, or are known to be useless, by name.
    Deltas,
    /// Deltas that are to be made, by name.
    Jobs,
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record becomes this.
    Put {
        /// What it is about.
        table: Table,
        /// Which one.
        key: String,
        /// JSON.
        value: Vec<u8>,
    },
    /// The record goes, if it is there.
    Remove {
        /// What it is about.
        table: Table,
        /// Which one.
        key: String,
    },
}

/// Keeps records. The server has all of them in memory, reads them once when it starts, and is the only one that changes them.
pub trait Database: Send + Sync + fmt::Debug {
    /// Hands over every record, in any order.
    ///
    /// # Errors
    /// [`DatabaseError`], that of `each` included.
    fn load(&self, each: &mut Loader<'_>) -> Result<(), DatabaseError>;

    /// Makes all changes, in this order, or none. They last once this returns, whatever happens then.
    ///
    /// # Errors
    /// [`DatabaseError`]: then none was made. [`DatabaseError::Full`] where there is no space left, which whoever asks is told.
    fn commit(&self, changes: &[Change]) -> Result<(), DatabaseError>;
}

/// Takes a record: its table, its key and its value.
pub type Loader<'a> = dyn FnMut(Table, &str, &[u8]) -> Result<(), DatabaseError> + 'a;

impl Table {
    /// Every table.
    pub const ALL: &[Self] = &[
        Self::Fleets,
        Self::Devices,
        Self::Tokens,
        Self::Releases,
        Self::Images,
        Self::Signatures,
        Self::Deltas,
        Self::Jobs,
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fleets => "fleets",
            Self::Devices => "devices",
            Self::Tokens => "tokens",
            Self::Releases => "releases",
            Self::Images => "images",
            Self::Signatures => "signatures",
            Self::Deltas => "deltas",
            Self::Jobs => "jobs",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }
}

/// Records in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    connection: Mutex<Connection>,
}

/// How a file of each version becomes one of the next.
const MIGRATIONS: &[&str] = &["CREATE TABLE records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;"];

impl Sqlite {
    /// Opens a file, which is made if it is not there, and brings it to this version.
    ///
    /// # Errors
    /// [`DatabaseError`]; [`DatabaseError::TooNew`] where a later version wrote it, which is left as it is.
    pub fn open(file: &Path) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(file).map_err(failed)?;
        let configure = |connection: &Connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // A commit is on the disk when it returns.
            connection.pragma_update(None, "synchronous", "FULL")
        };
        configure(&connection).map_err(failed)?;
        migrate(&mut connection)?;
        Ok(Self { connection: Mutex::new(connection) })
    }
}

fn migrate(connection: &mut Connection) -> Result<(), DatabaseError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(DatabaseError::TooNew { found, known });
    }
    let mut apply = || {
        let transaction = connection.transaction()?;
        for migration in &MIGRATIONS[found as usize..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    apply().map_err(failed)
}

impl Database for Sqlite {
    fn load(&self, each: &mut Loader<'_>) -> Result<(), DatabaseError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare("SELECT kind, key, value FROM records").map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let read = || -> rusqlite::Result<(String, String, Vec<u8>)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            };
            let (kind, key, value) = read().map_err(failed)?;
            // What a later version may have added is none of ours, and stays.
            if let Some(table) = Table::named(&kind) {
                each(table, &key, &value)?;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> Result<(), DatabaseError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut apply = || {
            let transaction = connection.transaction()?;
            for change in changes {
                match change {
                    Change::Put { table, key, value } => transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO records (kind, key, value) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![table.name(), key, value])?,
                    Change::Remove { table, key } => transaction
                        .prepare_cached("DELETE FROM records WHERE kind = ?1 AND key = ?2")?
                        .execute(params![table.name(), key])?,
                };
            }
            transaction.commit()
        };
        apply().map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> DatabaseError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => DatabaseError::Full(Box::new(error)),
        _ => DatabaseError::Failed(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change::Put { table: Table::Fleets, key: key.into(), value: value.into() }
    }

    fn all(database: &Sqlite) -> Vec<(Table, String, Vec<u8>)> {
        let mut found = Vec::new();
        database
            .load(&mut |table, key, value| {
                found.push((table, key.into(), value.into()));
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn what_was_committed_is_there_when_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state.db");
        let database = Sqlite::open(&file).unwrap();
        database.commit(&[put("a", "1"), put("b", "2"), put("a", "3")]).unwrap();
        database.commit(&[Change::Remove { table: Table::Fleets, key: "b".into() }]).unwrap();
        drop(database);
        assert_eq!(all(&Sqlite::open(&file).unwrap()), [(Table::Fleets, "a".into(), b"3".to_vec())]);
    }

    #[test]
    fn a_full_database_says_so_and_keeps_what_it_had() {
        let directory = tempfile::tempdir().unwrap();
        let database = Sqlite::open(&directory.path().join("state.db")).unwrap();
        database.commit(&[put("a", "1")]).unwrap();
        let limit = |pages: u32| {
            let connection = database.connection.lock().unwrap();
            // It answers with what holds now, which `pragma_update` does not take.
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        };
        limit(1);
        let large = "2".repeat(100_000);
        assert!(matches!(database.commit(&[put("a", &large)]), Err(DatabaseError::Full(_))));
        limit(1000);
        assert_eq!(all(&database), [(Table::Fleets, "a".into(), b"1".to_vec())]);
        database.commit(&[put("a", &large)]).unwrap();
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state.db");
        drop(Sqlite::open(&file).unwrap());
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Sqlite::open(&file), Err(DatabaseError::TooNew { found: 99, known: 1 })));
    }
}
