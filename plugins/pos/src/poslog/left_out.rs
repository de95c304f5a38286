//! Fields of POSLog documents that the mapping leaves out, with the reason. What is neither used nor
//! here is reported.

use xylem_mapping::conserve::LeftOut;

/// Shortens the table below.
const fn out(path: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { path, reason }
}

/// The fields left out where the mapping does not use them.
pub(crate) const LEFT_OUT: &[LeftOut] = &[
    // The document
    out("@*", "about the file, not a sale"),
    out("**.RetailTransaction.@Version", "the version of the format"),
    out("**.@MajorVersion", "the version of the format"),
    out("**.@MinorVersion", "the version of the format"),
    out("**.@FixVersion", "the version of the format"),
    out("**.@Currency", "the receipt has one currency, `CurrencyCode`"),
    // People
    out("**.OperatorID.@*", "an employee's name"),
    out("**.AgeRestriction.**", "a customer's birth date and proof of age: personal data"),
    out("**.Signature.**", "a signature: personal data, and large"),
    out(
        "**.Customer.Name.**",
        "personal data; identities are mapped, particulars belong to a profile",
    ),
    out("**.Customer.Address.**", "personal data; belongs to a profile"),
    out("**.Customer.TelephoneNumber.**", "personal data; belongs to a profile"),
    out("**.Customer.EMail.**", "personal data; belongs to a profile"),
    out("**.Customer.BirthDayMonth", "a birth date: personal data"),
    out("**.Customer.BirthYear", "a birth date: personal data"),
    out("**.LoyaltyMembership.LoyaltyID.@*", "the kind of membership"),
    out("**.LoyaltyMembership.MembershipLevel", "the profile's, not the sale's"),
    // The receipt
    out("**.BeginDateTime", "when a sale began is used; returns and cancellations have one time"),
    out("**.RetailTransaction.ReceiptDateTime", "the event's time is `EndDateTime`"),
    out("**.Transaction.POSLogDateTime", "the event's time is `EndDateTime`"),
    out("**.RetailTransaction.TransactionCount", "counts the lines"),
    out("**.RetailTransaction.ItemCount", "counts the goods"),
    out("**.RetailTransaction.PerformanceMetrics.**", "how fast the cashier was"),
    out("**.RetailTransaction.@TransactionStatus", "a completed sale is what the event says"),
    out("**.RetailTransaction.TransactionStatus", "a completed sale is what the event says"),
    out(
        "**.RetailTransaction.TransactionLink.**",
        "links a resumed sale to its suspended beginning",
    ),
    out("**.Total.@TotalType", "names a total"),
    out("**.Total", "sums of the lines; the grand total and the tax are used"),
    out("**.@CancelFlag", "a flag that is not set"),
    out("**.@OfflineFlag", "the state of the register's network"),
    out("**.@TrainingModeFlag", "a flag that is not set"),
    out("**.@VoidFlag", "a flag that is not set"),
    out("**.CRMCustomVariable.**", "variables of the loyalty system's own"),
    // Lines
    out("**.LineItem.@EntryMethod", "how the cashier entered the line"),
    out("**.LineItem.@weightItem", "a fraction in `Quantity` says the same"),
    out("**.LineItem.SequenceNumber", "numbers of payments, taxes and discounts"),
    out("**.OperatorSequence", "links discounts to lines; used where one does"),
    out("**.Sale.@ItemType", "`Stock` is the ordinary kind"),
    out("**.Return.@ItemType", "`Stock` is the ordinary kind"),
    out("**.POSIdentity.@POSIDType", "the numbering scheme of the article"),
    out("**.POSIdentity.Qualifier", "the department again"),
    out("**.MerchandiseHierarchy.@Level", "the name of a level of categories"),
    out("**.UnitListPrice", "the recommended price"),
    out("**.UnitCostPrice", "the retailer's cost"),
    out("**.ActualSalesUnitPrice", "`ExtendedAmount` says what the line came to"),
    out("**.DiscountAmount", "per piece; `ExtendedDiscountAmount` is the line's"),
    out("**.RetailPriceModifier.**", "`ExtendedDiscountAmount` says what they take off"),
    out("**.Quantity.@Units", "pieces in a package; used for a measured quantity"),
    out("**.TaxIncludedInPriceFlag", "a flag that is not set"),
    out("**.@TaxIncludedInPriceFlag", "a flag that is not set"),
    out("**.ReportCode", "the register's reporting"),
    out("**.SaleableMediaID", "the register's reporting"),
    out("**.Itemizers", "the register's tax and food stamp flags, as a number"),
    out("**.Itemizers.**", "the register's tax and food stamp flags"),
    out("**.Associate.**", "an employee"),
    out("**.Disposal.**", "where returned goods go"),
    out("**.TransactionLink.LineItemSequenceNumber", "the line on the original receipt"),
    out("**.TransactionLink.@ReasonCode", "the link stands below the goods taken back"),
    // Taxes
    out("**.Tax.**", "XDM has one tax amount, the receipt's"),
    // Payments
    out(
        "**.Tender.@TypeCode",
        "`Sale`, and `Refund` where goods come back, are the ordinary kinds",
    ),
    out("**.Tender.@TenderDescription", "the register's name of the way to pay"),
    out("**.Tender.@ChangeFlag", "a flag that is not set"),
    out("**.Tender.TenderID", "the register's number of the way to pay"),
    out("**.Tender.Authorization.**", "card data; only the reference is used"),
    out("**.Tender.CreditDebit.**", "card data; only `Debit` or not is used"),
    // Discounts
    out("**.LoyaltyReward.@*", "the loyalty system's flags"),
    out("**.LoyaltyReward.**", "how the loyalty system came to the amount"),
    out("**.Discount.**", "why the discount was given; the amount is used"),
];
