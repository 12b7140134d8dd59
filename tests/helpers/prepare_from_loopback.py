"""Runs experiments.prepare with the archives' address on loopback in place of the real one.

python -m tests.helpers.prepare_from_loopback URL MD5 URL MD5 [options of prepare]
"""

import sys

from torchvision.datasets import OxfordIIITPet

from experiments.prepare import main

if __name__ == "__main__":
    first, first_md5, second, second_md5, *options = sys.argv[1:]
    OxfordIIITPet._RESOURCES = ((first, first_md5), (second, second_md5))
    main(options)
