"""A simulator that runs the real configuration: hours of traffic in seconds, on virtual time.

    report = simulate(config, "outage", seed=7)
    report.total.success_rate, report.deployments["openai/gpt-5"].openings

`python -m llmgate simulate config.yaml --scenario outage` prints it.
"""

from .report import Report
from .run import simulate
from .scenario import Scenario, find_scenario, scenario_from, scenario_schema, shipped

__all__ = ["Report", "Scenario", "find_scenario", "scenario_from", "scenario_schema", "shipped", "simulate"]
