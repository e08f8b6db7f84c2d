"""How a row belongs to one account: what lets the same models run on one PostgreSQL and spread over Citus workers."""

from typing import Any

from django.db import models
from django.db.models.sql.where import WhereNode


class SameAccountForeignKey(models.ForeignKey[Any, Any]):
    """A foreign key inside one account.

    Joins and look-ups through it also match `account_id`, so that a distributed database answers them on the one
    node that holds the account.
    """

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> WhereNode:
        theirs: Any = self.remote_field.model._meta.get_field("account")
        ours: Any = self.model._meta.get_field("account")
        return WhereNode([ours.get_lookup("exact")(theirs.get_col(alias), ours.get_col(related_alias))])

    def get_extra_descriptor_filter(self, instance: models.Model) -> dict[str, Any]:
        return {"account_id": instance.account_id}  # type: ignore[attr-defined]  # every OfAccount has it


class OfAccount(models.Model):
    """A row of one account; saving names the account in WHERE and never changes it."""

    class Meta:
        abstract = True

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *rest: Any) -> Any:
        ours = base_qs.filter(account_id=self.account_id)  # type: ignore[attr-defined]
        unchanging = [value for value in values if value[0].attname != "account_id"]
        return super()._do_update(ours, using, pk_val, unchanging, *rest)
