-- +goose Up
-- One row per mail and mailbox. mbox is the first half of the SHA-256 of the mailbox. Addresses are VARBINARY: a
-- collation would let one mailbox read another's mail. The primary key is the only unique key, because the storer
-- relies on ON DUPLICATE KEY meaning this one.
CREATE TABLE IF NOT EXISTS inbox (
  mbox         BINARY(16) NOT NULL,
  id           BINARY(16) NOT NULL,
  day          MEDIUMINT UNSIGNED NOT NULL,
  rcpt         VARBINARY(320) NOT NULL,
  sender       VARBINARY(320) NOT NULL,
  hdr_from     VARCHAR(255) NOT NULL,
  hdr_to       VARCHAR(255) NOT NULL,
  subject      VARCHAR(255) NOT NULL,
  charset      VARCHAR(32) NOT NULL,
  content_type VARCHAR(128) NOT NULL,
  has_attach   TINYINT UNSIGNED NOT NULL,
  size         BIGINT UNSIGNED NOT NULL,
  flags        BIGINT UNSIGNED NOT NULL,
  ip           VARBINARY(16) NOT NULL,
  received     DATETIME(3) NOT NULL,
  PRIMARY KEY (mbox, id, day)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
  PARTITION BY RANGE (day) (PARTITION pmax VALUES LESS THAN MAXVALUE);
