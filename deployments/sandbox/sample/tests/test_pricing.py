import unittest

from shop.pricing import discounted, total


class PricingTest(unittest.TestCase):
    def test_a_discount_is_rounded_down(self) -> None:
        self.assertEqual(discounted(999, 10), 899)

    def test_a_discount_above_100_per_cent_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            discounted(100, 101)

    def test_the_discount_is_taken_off_the_sum(self) -> None:
        self.assertEqual(total([1000, 500], percent=20), 1200)
