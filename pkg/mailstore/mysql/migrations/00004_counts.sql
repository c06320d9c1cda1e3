-- +goose Up
-- Mails stored by day. A day has several slots so that storers do not wait for each other; the sum is what counts.
CREATE TABLE IF NOT EXISTS counts (
  day  MEDIUMINT UNSIGNED NOT NULL,
  slot TINYINT UNSIGNED NOT NULL,
  n    BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (day, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
