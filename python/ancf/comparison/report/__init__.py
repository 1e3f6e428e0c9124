"""The report: one HTML page that needs nothing else, made of a comparison's document, its models and its tables."""

from ancf.comparison.report.definitions import cut_off as cut_off
from ancf.comparison.report.material import Material as Material
from ancf.comparison.report.page import check_extra as check_extra
from ancf.comparison.report.page import render as render
