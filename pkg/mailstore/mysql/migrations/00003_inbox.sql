-- +goose Up
-- One row per mail and mailbox. mbox is the first half of the SHA-256 of the mailbox. Addresses are VARBINARY: a
-- collation would let one mailbox read another's mail. The primary key is the only unique key, because the storer
-- relies on ON DUPLICATE KEY meaning this one. state is a set of bits: 1 a reader has seen the mail, 2 it was deleted from this
-- mailbox; then everything else that can be empty is, but flags, which is the number of the deletion. stored is when the mail
-- was stored: mails become visible in this order. hash and mail_id are what the ancestor called a mail.
CREATE TABLE IF NOT EXISTS inbox (
  mbox         BINARY(16) NOT NULL,
  id           BINARY(16) NOT NULL,
  day          MEDIUMINT UNSIGNED NOT NULL,
  state        TINYINT UNSIGNED NOT NULL,
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
  stored       DATETIME(3) NOT NULL,
  mail_id      BIGINT UNSIGNED AS (CAST(CONV(HEX(LEFT(id, 8)), 16, 10) AS UNSIGNED)) VIRTUAL,
  hash         CHAR(32) CHARACTER SET ascii COLLATE ascii_bin AS (LOWER(HEX(id))) VIRTUAL,
  PRIMARY KEY (mbox, id, day),
  KEY rcpt (rcpt, stored),
  KEY mail_id (mail_id),
  KEY hash (hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
  PARTITION BY RANGE (day) (PARTITION pmax VALUES LESS THAN MAXVALUE);
