-- +goose Up
-- One row per mail and mailbox. mbox is the first half of the SHA-256 of the mailbox.
CREATE TABLE inbox (
  mbox         BLOB NOT NULL,
  id           BLOB NOT NULL,
  rcpt         TEXT NOT NULL,
  sender       TEXT NOT NULL,
  hdr_from     TEXT NOT NULL,
  hdr_to       TEXT NOT NULL,
  subject      TEXT NOT NULL,
  charset      TEXT NOT NULL,
  content_type TEXT NOT NULL,
  has_attach   INTEGER NOT NULL,
  size         INTEGER NOT NULL,
  flags        INTEGER NOT NULL,
  ip           BLOB NOT NULL,
  received     INTEGER NOT NULL,
  PRIMARY KEY (mbox, id)
) WITHOUT ROWID;
