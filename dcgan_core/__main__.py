import sys

from dcgan_core.cli import main

sys.exit(main())
