"""What people see: the Allure report, the failover picture, live progress, the bill.

Subscribes to `steps` and reads frozen data; the only importer of allure and matplotlib, and
imported by nothing but the plugin and the command line. docs/reports.md says what a report holds.
"""
