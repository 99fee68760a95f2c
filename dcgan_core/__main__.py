import sys

try:
    from dcgan_core.cli import main
except KeyboardInterrupt:  # it takes seconds to import PyTorch
    sys.exit("stopped.")

sys.exit(main())
