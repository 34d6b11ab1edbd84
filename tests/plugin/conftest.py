"""The tests of the package are run where it is installed, by those that install it."""

collect_ignore = ["lj_package"]
