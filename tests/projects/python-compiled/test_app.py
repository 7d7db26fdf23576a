import unittest

import app


class Add(unittest.TestCase):
    def test_add(self):
        self.assertEqual(app.add(2, 2), 4)
