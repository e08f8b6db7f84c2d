"""The audit trail only grows: the database refuses to change or delete a row. (Emptying the whole table takes TRUNCATE,
which only its owner may.)"""

from typing import ClassVar

from django.db import migrations

FORBID = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
"""
ALLOW = """
DROP TRIGGER audit_is_append_only ON accounts_auditentry;
DROP FUNCTION audit_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0001_first")]
    operations: ClassVar = [migrations.RunSQL(FORBID, ALLOW)]
