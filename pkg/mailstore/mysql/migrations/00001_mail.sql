-- +goose Up
-- One narrow row per mail, so that an audit of millions reads no body. day is the UTC day of the id since 1970;
-- MEDIUMINT takes every day that a ULID can have. Partitions are ranges of days, made by the storer; pmax is there so that
-- an INSERT never fails for want of one. refs is how many mailboxes still list the mail: with the last one its bytes and its
-- envelope go, and the row stays until its partition is dropped, so that a replay does not bring the mail back.
CREATE TABLE IF NOT EXISTS mail (
  day      MEDIUMINT UNSIGNED NOT NULL,
  id       BINARY(16) NOT NULL,
  size     BIGINT UNSIGNED NOT NULL,
  sha256   BINARY(32) NOT NULL,
  parts    SMALLINT UNSIGNED NOT NULL,
  refs     SMALLINT UNSIGNED NOT NULL,
  stored   DATETIME(3) NOT NULL,
  envelope MEDIUMBLOB NOT NULL,
  PRIMARY KEY (day, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
  PARTITION BY RANGE (day) (PARTITION pmax VALUES LESS THAN MAXVALUE);
