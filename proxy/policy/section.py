"""What every section of a policy document has in common: strict, frozen, and no unknown keys."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Keys as declared, values of the declared type, nothing else."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class PerTool(Section):
    """A section whose other keys are tool names."""

    model_config = ConfigDict(extra="allow")
