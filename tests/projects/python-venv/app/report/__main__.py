import argparse

import shapes

parser = argparse.ArgumentParser(prog="report")
parser.add_argument("--all", action="store_true", help="of all of the %d shapes" % len(shapes.ALL))
print(parser.parse_args())
