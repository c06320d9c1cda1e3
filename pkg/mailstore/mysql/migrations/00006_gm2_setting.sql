-- +goose Up
-- The counter of Guerrilla SMTPd's web site.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW gm2_setting AS
SELECT 'received_emails' AS setting_name, CAST(COALESCE(SUM(n), 0) AS UNSIGNED) AS setting_value FROM counts;
