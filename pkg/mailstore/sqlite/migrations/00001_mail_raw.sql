-- +goose Up
-- The mails: one row per part, parts cut every 8 MiB of raw bytes. Part 0 also has what belongs to the whole mail.
-- Times are Unix milliseconds.
CREATE TABLE mail_raw (
  id       BLOB NOT NULL,
  part     INTEGER NOT NULL,
  parts    INTEGER NOT NULL,
  codec    INTEGER NOT NULL,
  size     INTEGER NOT NULL,
  sha256   BLOB NOT NULL,
  stored   INTEGER NOT NULL,
  envelope BLOB NOT NULL,
  body     BLOB NOT NULL,
  PRIMARY KEY (id, part)
);
