"""The program `mtt` of a time when pet@2 is installed, to which no exact upgrade leads from pet@1."""

import dataclasses
import sys

import mtt.architectures.pet as pet
from mtt.__main__ import main

pet.architecture = dataclasses.replace(pet.architecture, version=2, upgrades={})
sys.exit(main())
