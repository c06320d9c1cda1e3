-- +goose Up
-- The mails: one row per part, parts cut every 8 MiB of raw bytes. Part 0 also has what belongs to the whole mail.
-- day is the UTC day of the id since 1970; MEDIUMINT takes every day that a ULID can have. Days are partitions, made
-- by the storer; pmax is there so that an INSERT never fails for want of one.
CREATE TABLE IF NOT EXISTS mail_raw (
  day      MEDIUMINT UNSIGNED NOT NULL,
  id       BINARY(16) NOT NULL,
  part     SMALLINT UNSIGNED NOT NULL,
  parts    SMALLINT UNSIGNED NOT NULL,
  codec    TINYINT UNSIGNED NOT NULL,
  size     BIGINT UNSIGNED NOT NULL,
  sha256   VARBINARY(32) NOT NULL,
  stored   DATETIME(3) NOT NULL,
  envelope MEDIUMBLOB NOT NULL,
  body     LONGBLOB NOT NULL,
  PRIMARY KEY (day, id, part)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
  PARTITION BY RANGE (day) (PARTITION pmax VALUES LESS THAN MAXVALUE);
