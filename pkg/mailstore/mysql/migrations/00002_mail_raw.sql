-- +goose Up
-- The bytes of the mails: one row per part, parts cut every 8 MiB of raw bytes, packed as codec says.
CREATE TABLE IF NOT EXISTS mail_raw (
  day   MEDIUMINT UNSIGNED NOT NULL,
  id    BINARY(16) NOT NULL,
  part  SMALLINT UNSIGNED NOT NULL,
  codec TINYINT UNSIGNED NOT NULL,
  body  LONGBLOB NOT NULL,
  PRIMARY KEY (day, id, part)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
  PARTITION BY RANGE (day) (PARTITION pmax VALUES LESS THAN MAXVALUE);
