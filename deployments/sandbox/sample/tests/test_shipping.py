import unittest

from shop.shipping import FLAT_RATE, FREE_FROM, shipping


class ShippingTest(unittest.TestCase):
    def test_small_orders_pay_the_flat_rate(self) -> None:
        self.assertEqual(shipping(FREE_FROM - 1), FLAT_RATE)

    def test_large_orders_are_sent_for_free(self) -> None:
        self.assertEqual(shipping(FREE_FROM), 0)
