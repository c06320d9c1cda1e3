-- +goose Up
-- The bytes of the mails: one row per part, parts cut every 8 MiB of raw bytes, packed as codec says.
CREATE TABLE mail_raw (
  id    BLOB NOT NULL,
  part  INTEGER NOT NULL,
  codec INTEGER NOT NULL,
  body  BLOB NOT NULL,
  PRIMARY KEY (id, part)
);
