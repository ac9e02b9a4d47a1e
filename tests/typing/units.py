"""Checked by mypy and pyright, never run: options take texts and read as numbers."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, Field

from llmgate.types.units import Duration, Money, Size


class Options(BaseModel):
    timeout: Duration = Field(default="30s", gt=0)
    idle: Duration | None = None
    room: Size = 0
    budget: Money = Decimal(25)


options = Options(timeout="1m", idle=2.5, room="64MiB", budget="$25")
seconds: float = options.timeout
idle: float | None = options.idle
size: int = options.room
amount: Decimal = options.budget
