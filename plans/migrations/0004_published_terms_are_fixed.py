"""What is published stays as it is: the database refuses to change or delete it, and a subscription to a draft.

Of a plan the name may change. (Emptying the whole table takes TRUNCATE, which only its owner may.)
"""

from typing import ClassVar

from django.db import migrations

GUARD = """
CREATE FUNCTION published_terms_are_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% % is published: it can be neither changed nor deleted', TG_ARGV[0], OLD.key
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE TRIGGER plan_is_fixed_once_published BEFORE UPDATE ON plans_plan FOR EACH ROW
WHEN (OLD.published_at IS NOT NULL
      AND (OLD.id, OLD.key, OLD.unit, OLD.period_rule, OLD.at_limit, OLD.grace_hours, OLD.published_at)
          IS DISTINCT FROM (NEW.id, NEW.key, NEW.unit, NEW.period_rule, NEW.at_limit, NEW.grace_hours, NEW.published_at))
EXECUTE FUNCTION published_terms_are_fixed('plan');

CREATE TRIGGER plan_stays_once_published BEFORE DELETE ON plans_plan FOR EACH ROW
WHEN (OLD.published_at IS NOT NULL) EXECUTE FUNCTION published_terms_are_fixed('plan');

CREATE TRIGGER tier_is_fixed_once_published BEFORE UPDATE ON plans_tier FOR EACH ROW
WHEN (OLD.published_at IS NOT NULL AND OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION published_terms_are_fixed('tier');

CREATE TRIGGER tier_stays_once_published BEFORE DELETE ON plans_tier FOR EACH ROW
WHEN (OLD.published_at IS NOT NULL) EXECUTE FUNCTION published_terms_are_fixed('tier');

CREATE FUNCTION subscription_is_on_a_published_tier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM plans_tier WHERE id = NEW.tier_id AND published_at IS NULL) THEN
    RAISE EXCEPTION 'tier % is a draft', NEW.tier_id
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER subscription_is_on_a_published_tier BEFORE INSERT OR UPDATE OF tier_id ON plans_subscription
FOR EACH ROW EXECUTE FUNCTION subscription_is_on_a_published_tier();
"""
UNGUARD = """
DROP TRIGGER subscription_is_on_a_published_tier ON plans_subscription;
DROP TRIGGER tier_stays_once_published ON plans_tier;
DROP TRIGGER tier_is_fixed_once_published ON plans_tier;
DROP TRIGGER plan_stays_once_published ON plans_plan;
DROP TRIGGER plan_is_fixed_once_published ON plans_plan;
DROP FUNCTION subscription_is_on_a_published_tier();
DROP FUNCTION published_terms_are_fixed();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("plans", "0003_versions_and_drafts")]
    operations: ClassVar = [migrations.RunSQL(GUARD, UNGUARD)]
