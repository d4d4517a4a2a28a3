"""What this host lends to testbeds: folders, slots, ports. Nothing of iSCSI is known here."""
