-- +goose Up
-- One row per mail and mailbox. mbox is the first half of the SHA-256 of the mailbox. state is a set of bits: 1 a reader has
-- seen the mail, 2 it was deleted from this mailbox; then everything else that can be empty is, but flags, which is the number of
-- the deletion. stored is when the mail was stored: mails become visible in this order.
CREATE TABLE inbox (
  mbox         BLOB NOT NULL,
  id           BLOB NOT NULL,
  state        INTEGER NOT NULL,
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
  stored       INTEGER NOT NULL,
  PRIMARY KEY (mbox, id)
) WITHOUT ROWID;
